"""Tools of the module for model training, scaimind.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, list_of

_JOBS = "/v1/modules/scaimind/jobs"

TOOLS = (
    tool(
        "mind_jobs_list",
        "List training jobs",
        "List the training jobs page by page; use it to find a job or to see what is running; "
        "returns name, status, progress and times of each.",
        f"GET {_JOBS}",
        (
            *PAGE,
            arg(
                "status:list<str(1–32)>(≤8)",
                "Only jobs in one of these states, for example running; all when absent.",
            ),
        ),
        permission="scaimind:view",
        hints="R I",
        result=list_of("Job"),
        module_id="scaimind",
        page=("page_size", "page_token"),
    ),
    tool(
        "mind_jobs_get",
        "Show a training job",
        "Show one training job; use it after mind_jobs_create to follow its progress; returns "
        "status, progress, labels, times and, if it failed, the error.",
        f"GET {_JOBS}/{{job_id}}",
        (arg("job_id:id*", "Identifier of the job, from mind_jobs_list."),),
        permission="scaimind:view",
        hints="R I",
        result=an("Job"),
        module_id="scaimind",
    ),
    tool(
        "mind_jobs_create",
        "Start a training job",
        "Start a job that trains or tunes a model; use it only when training is asked for, as it "
        "uses costly resources; returns the job, to be followed with mind_jobs_get.",
        f"POST {_JOBS}",
        (
            arg("name:str*", "Name to recognise the job by, for example support-tune-1."),
            arg(
                "training_config:map*",
                'How to train, for example {"base_model": "scailabs/base", "epochs": 3}.',
            ),
            arg(
                "data_config:map*",
                'What to train on, for example {"dataset": "scaidrive://sets/support.jsonl"}.',
            ),
            arg(
                "resource_config:map*",
                'What to run on, for example {"gpu_type": "a100", "gpu_count": 1}.',
            ),
            arg(
                "output_config:map",
                'Where the result goes, for example {"slug": "acme/support"}; platform default '
                "if absent.",
            ),
            arg(
                "scheduling_config:map",
                'When to run, for example {"priority": 5}; as soon as possible when absent.',
            ),
            arg("labels:map", 'Labels to find it by, for example {"team": "ml"}; none if absent.'),
        ),
        permission="scaimind:manage",
        hints="O",
        result=an("Job"),
        module_id="scaimind",
    ),
)
