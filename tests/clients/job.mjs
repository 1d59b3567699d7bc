// The frame that the three client scripts share. Reads one job from stdin:
//   {"url", "sessions": [{"label", "token", "era": "legacy" | "auto" | "<revision>",
//                         "calls": [{"name", "arguments"}]}]}
// and prints one object: {label: {"protocolVersion", "tools", "results", "error"}}, where `tools`
// are the definitions of all pages in the order received, `results` the answers to `calls` in
// their order, and `error` the message of what ended the session early, or null.
// Sessions run one after another, so that one process serves every role.
import { readFileSync } from 'node:fs';

/** Fetches every page; some clients do so themselves and then answer without a cursor. */
export async function listAll(client) {
  const tools = [];
  const seen = new Set();
  let cursor;
  do {
    const page = await client.listTools(cursor === undefined ? undefined : { cursor });
    tools.push(...page.tools);
    cursor = page.nextCursor;
    if (seen.has(cursor)) throw new Error(`the cursor ${cursor} came twice`);
    seen.add(cursor);
  } while (cursor !== undefined);
  return tools;
}

/** Drives an SDK's client: `connect(url, session)` returns a connected one. */
export function withClient(connect, protocolVersion) {
  return async (url, session, answer) => {
    const client = await connect(new URL(url), session);
    try {
      answer.protocolVersion = protocolVersion(client);
      answer.tools = await listAll(client);
      for (const call of session.calls) answer.results.push(await client.callTool(call));
    } finally {
      await client.close();
    }
  };
}

export async function main(runSession) {
  const job = JSON.parse(readFileSync(0, 'utf8'));
  const answers = {};
  for (const session of job.sessions) {
    const answer = { protocolVersion: null, tools: [], results: [], error: null };
    answers[session.label] = answer;
    try {
      await runSession(job.url, session, answer);
    } catch (error) {
      answer.error = `${error.name}: ${error.message}`;
    }
  }
  process.stdout.write(JSON.stringify(answers) + '\n');
}
