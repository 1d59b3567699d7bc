"""Tools of the module for document collections, scaimatrix.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, Rule, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import DELETED, an, fields, list_of

_ROOT = "/v1/modules/scaimatrix"
_COLLECTION_ID = arg(
    "collection_id:id*", "Identifier of the collection, from matrix_collections_list."
)
_DOCUMENT_ID = arg("document_id:id*", "Identifier of the document, from matrix_documents_list.")

TOOLS = (
    tool(
        "matrix_collections_list",
        "List document collections",
        "List the document collections the caller may see, page by page; use it to find the "
        "collection to search or to add to; returns name, size and settings of each.",
        f"GET {_ROOT}/collections",
        PAGE,
        permission="scaimatrix:view",
        hints="R I",
        result=list_of("Collection"),
        module_id="scaimatrix",
    ),
    tool(
        "matrix_collections_get",
        "Show a document collection",
        "Show one document collection; use it to see how it is set up and what the caller may do "
        "with it; returns its settings, document count and size.",
        f"GET {_ROOT}/collections/{{collection_id}}",
        (_COLLECTION_ID,),
        permission="scaimatrix:view",
        hints="R I",
        result=an("Collection"),
        module_id="scaimatrix",
    ),
    tool(
        "matrix_collections_create",
        "Create a document collection",
        "Create an empty document collection; use it when documents on a new subject are to be "
        "searchable; returns the collection, whose id matrix_ingest_document needs.",
        f"POST {_ROOT}/collections",
        (
            arg("name:str*", "Name of the collection, unique in the tenant."),
            arg(
                "embedding_model:str*",
                "Slug of an embedding model from models_list; it cannot be changed later.",
            ),
            arg("description:str(≤2000)", "What the collection holds; empty when absent."),
            arg(
                "chunking_strategy:enum(fixed,paragraph,semantic,markdown,code)",
                "How documents are split into pieces; fixed when absent.",
            ),
            arg("chunk_size:int(64–8192)", "Length of a piece in tokens; 512 when absent."),
            arg(
                "chunk_overlap:int(0–1024)",
                "Tokens that neighbouring pieces share; 50 when absent.",
            ),
            arg(
                "graph_enabled:bool",
                "True to build a knowledge graph from the documents; false when absent.",
            ),
            arg(
                "default_access:enum(tenant,restricted)",
                "Who may read it: everyone in the tenant, or only those named; tenant when absent.",
            ),
            arg(
                "metadata:map",
                'Free pairs kept with it, for example {"team": "legal"}; none when absent.',
            ),
        ),
        permission="scaimatrix:manage",
        hints="",
        result=an("Collection"),
        module_id="scaimatrix",
    ),
    tool(
        "matrix_documents_list",
        "List documents",
        "List the documents of one collection page by page; use it to find a document or to see "
        "which ones are indexed; returns name, status and size of each.",
        f"GET {_ROOT}/collections/{{collection_id}}/documents",
        (
            _COLLECTION_ID,
            *PAGE,
            arg(
                "status:enum(pending,processing,chunking,embedding,indexed,failed,error)",
                "Only documents in this state; all when absent.",
            ),
        ),
        permission="scaimatrix:view",
        hints="R I",
        result=list_of("Document"),
        module_id="scaimatrix",
    ),
    tool(
        "matrix_documents_get",
        "Show a document",
        "Show one document's record, not its text; use it after matrix_ingest_document to see "
        "whether it is indexed yet; returns status, size, pieces and any error.",
        f"GET {_ROOT}/documents/{{document_id}}",
        (_DOCUMENT_ID,),
        permission="scaimatrix:view",
        hints="R I",
        result=an("Document"),
        module_id="scaimatrix",
    ),
    tool(
        "matrix_documents_delete",
        "Delete a document",
        "Delete one document and its search index for good; use it to take outdated content out "
        "of a collection; returns the identifier of the deleted document.",
        f"DELETE {_ROOT}/documents/{{document_id}}",
        (_DOCUMENT_ID,),
        permission="scaimatrix:ingest",
        hints="D I",
        result=DELETED,
        module_id="scaimatrix",
    ),
    tool(
        "matrix_ingest_document",
        "Add a document",
        "Add one document to a collection, as text or as a file in base64; use it to make content "
        "searchable; returns the document, which can be found once its status is indexed.",
        f"POST {_ROOT}/collections/{{collection_id}}/documents",
        (
            _COLLECTION_ID,
            arg("name:str*", "Name of the document, for example handbook.md."),
            arg(
                "text:str(1–1000000)",
                "Content as plain text; give exactly one of text and content_base64.",
            ),
            arg(
                "content_base64:str(1–13333336)",
                "Content of a file in base64, at most 10,000,000 bytes decoded; give exactly one "
                "of text and content_base64.",
            ),
            arg(
                "mime_type:str(3–128)=text/plain",
                "Media type of the content, for example application/pdf; text/plain when absent.",
            ),
            arg(
                "metadata:map",
                'Free pairs kept with it, for example {"year": 2025}; none when absent.',
            ),
        ),
        permission="scaimatrix:ingest",
        hints="",
        result=an("Document"),
        module_id="scaimatrix",
        body="multipart",
        files=(("content_base64", "file"),),
        rules=(Rule("exactly_one", ("text", "content_base64")),),
    ),
    tool(
        "matrix_search",
        "Search a document collection",
        "Search one collection for passages that fit a question; use it before answering from the "
        "organisation's own documents; returns passages with document name and score, best first.",
        f"POST {_ROOT}/collections/{{collection_id}}/search",
        (
            _COLLECTION_ID,
            arg("query:str(1–4000)*", "Question or words to look for, in natural language."),
            arg("top_k:int(1–50)=5", "Number of passages to return, from 1 to 50; 5 when absent."),
            arg(
                "search_type:enum(semantic,keyword,hybrid)=semantic",
                "Search by meaning, by words, or by both; semantic when absent.",
            ),
        ),
        permission="scaimatrix:search",
        hints="R I",
        result=fields("results"),
        module_id="scaimatrix",
    ),
)
