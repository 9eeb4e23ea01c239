// plaid-node in front of the simulator: opens Link, exchanges what was linked in it, and reads the Item.
// Takes {"plaid": address, "bank": id} as its argument, prints what it saw as one line of JSON.
import { Configuration, CountryCode, PlaidApi, Products } from "plaid";

const { plaid, bank } = JSON.parse(process.argv[2]);
const headers = { "PLAID-CLIENT-ID": "sandbox-client", "PLAID-SECRET": "sandbox-secret" };
const client = new PlaidApi(new Configuration({ basePath: plaid, baseOptions: { headers } }));

// What the user does in Link; Plaid's own page does it elsewhere.
async function finishLink() {
  const opened = await client.linkTokenCreate({
    client_name: "Manna Sync",
    language: "en",
    country_codes: [CountryCode.Us],
    products: [Products.Transactions],
    user: { client_user_id: "u1" },
  });
  const body = JSON.stringify({ link_token: opened.data.link_token, institution_id: bank, transactions: 5 });
  const done = await fetch(`${plaid}/control/link`, { method: "POST", headers, body });
  return done.json();
}

const mine = await finishLink();
const exchanged = await client.itemPublicTokenExchange({ public_token: mine.public_token });
const access_token = exchanged.data.access_token;
const item = await client.itemGet({ access_token });
const synced = await client.transactionsSync({ access_token });
const refused = await client.itemPublicTokenExchange({ public_token: mine.public_token }).catch((error) => error);

console.log(
  JSON.stringify({
    item_id: item.data.item.item_id,
    linked: mine.item_id,
    status: synced.data.transactions_update_status,
    second_exchange: refused.response.data.error_code,
    for_our_api: await finishLink(),
  }),
);
