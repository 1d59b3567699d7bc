// MCP Inspector's command line, many commands in one process. `era` is Inspector's own word:
// "legacy", "auto" or "modern". Lists with --strict, so a schema that other clients cannot read
// ends the session with an error. Inspector prints no revision: `protocolVersion` stays null.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { main } from './job.mjs';

const { runCli } = await import(
  new URL('node_modules/@modelcontextprotocol/inspector/clients/cli/build/index.js', import.meta.url)
);

const folder = mkdtempSync(join(tmpdir(), 'inspector-'));

async function run(url, session, ...options) {
  const output = join(folder, 'result.json');
  await runCli([
    process.execPath, 'mcp-inspector', url, '--transport', 'http',
    '--protocol-era', session.era, '--header', `Authorization: Bearer ${session.token}`,
    '--stored-auth-only', '--quiet', '--output', output, ...options,
  ]);
  return JSON.parse(readFileSync(output, 'utf8'));
}

try {
  await main(async (url, session, answer) => {
    answer.tools = (await run(url, session, '--method', 'tools/list', '--strict')).tools;
    for (const { name, arguments: args } of session.calls) {
      answer.results.push(
        await run(url, session, '--method', 'tools/call', '--tool-name', name,
          '--tool-args-json', JSON.stringify(args)),
      );
    }
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
