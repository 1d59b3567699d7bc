// @modelcontextprotocol/sdk 1.x: knows the handshake revisions only, whatever `era` says.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { main, withClient } from './job.mjs';

async function connect(url, session) {
  const client = new Client({ name: 'scaimcp-tests-sdk-v1', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { Authorization: `Bearer ${session.token}` } },
  });
  await client.connect(transport);
  return client;
}

await main(withClient(connect, (client) => client.transport.protocolVersion ?? null));
