// @modelcontextprotocol/client 2.x: `era` is "legacy", "auto" (ask, then fall back) or a revision
// to insist on.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { main, withClient } from './job.mjs';

async function connect(url, session) {
  const named = session.era === 'legacy' || session.era === 'auto';
  const client = new Client(
    { name: 'scaimcp-tests-client-v2', version: '1.0.0' },
    { versionNegotiation: { mode: named ? session.era : { pin: session.era } } },
  );
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { Authorization: `Bearer ${session.token}` } },
  });
  await client.connect(transport);
  return client;
}

await main(withClient(connect, (client) => client.getNegotiatedProtocolVersion() ?? null));
