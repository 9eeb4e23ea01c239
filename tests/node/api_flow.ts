// The client that openapi-ts has made of our description: links, lists, syncs, reads, pages and meets errors.
// Takes {"api", "plaid": addresses, "token", "bank"} as its argument, prints what it saw as one line of JSON.
import * as manna from "./client";
import { client } from "./client/client.gen";

declare const process: { argv: string[] };
const given: { api: string; plaid: string; token: string; bank: string } = JSON.parse(process.argv[2]);
client.setConfig({ baseUrl: given.api, auth: () => given.token, throwOnError: true });

async function finishLink(link_token: string): Promise<string> {
  const headers = { "PLAID-CLIENT-ID": "sandbox-client", "PLAID-SECRET": "sandbox-secret" };
  const body = JSON.stringify({ link_token, institution_id: given.bank, transactions: 5 });
  const done = await fetch(`${given.plaid}/control/link`, { method: "POST", headers, body });
  return (await done.json()).public_token;
}

async function main(): Promise<void> {
  const link = await manna.createLinkToken({ body: { user_id: "u1" }, throwOnError: true });
  const public_token = await finishLink(link.data.link_token);
  const created = await manna.createItem({
    body: { user_id: "u1", public_token },
    headers: { "Idempotency-Key": "first" },
    throwOnError: true,
  });
  const item_id = created.data.id;
  const listed = await manna.listItems({ query: { user_id: "u1", limit: 1 }, throwOnError: true });
  const shown = await manna.showItem({ path: { item_id }, throwOnError: true });
  const asked = await manna.syncItem({ path: { item_id }, throwOnError: true });
  const read = await manna.listTransactions({ path: { item_id }, query: { pending: false }, throwOnError: true });
  const missing = await manna.showItem({ path: { item_id: "0199f3c1-6f0a-7c41-9d3e-2b6c8f0a1d22" }, throwOnError: false });
  console.log(
    JSON.stringify({
      item_id,
      listed: listed.data.data.map((item) => item.id),
      accounts: shown.data.accounts.length,
      asked: asked.data.status,
      transactions: read.data.data.length,
      missing: missing.error?.type,
    }),
  );
}

main();
