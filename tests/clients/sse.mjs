// @modelcontextprotocol/sdk 1.x over HTTP+SSE, the transport of 2024-11-05.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';

import { main, withClient } from './job.mjs';

async function connect(url, session) {
  const client = new Client({ name: 'scaimcp-tests-sse-v1', version: '1.0.0' });
  const headers = { Authorization: `Bearer ${session.token}` };
  await client.connect(new SSEClientTransport(url, { requestInit: { headers } }));
  return client;
}

await main(withClient(connect, () => null));
