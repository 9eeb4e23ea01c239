// Mozilla's HTTP Observatory against a server on loopback: its own retriever, tests and scores.
// Takes {"port", "closed", "path"} as its argument, prints {"grade", "score", "failed"} as one line of JSON.
// Its scan() knows the standard ports alone, so what that does with the answers is done here, by its own parts.
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// Fetched by its set-up from elsewhere: empty, we are on no preload list and no host is a domain of another.
for (const name of ["hsts-preload.json", "tld-list.json"]) {
  const file = fileURLToPath(new URL(`../conf/${name}`, import.meta.resolve("@mdn/mdn-http-observatory")));
  if (!existsSync(file)) writeFileSync(file, "{}");
}
const part = (name) => import(new URL(name, import.meta.resolve("@mdn/mdn-http-observatory")).href);
const { retrieve } = await part("./retriever/retriever.js");
const { ALL_TESTS } = await part("./constants.js");
const { getGradeForScore, getScoreModifier } = await part("./grader/grader.js");
const { MINIMUM_SCORE_FOR_EXTRA_CREDIT } = await part("./grader/charts.js");

const { port, closed, path } = JSON.parse(process.argv[2]);
const seen = await retrieve("localhost", { httpsPort: port, httpPort: closed, path });
const results = ALL_TESTS.map((test) => test(seen));
const modifiers = results.map((one) => getScoreModifier(one.result));
const sum = (numbers) => numbers.reduce((total, one) => total + one, 100);
const uncurved = sum(modifiers.filter((one) => one < 0));
const score = uncurved >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? sum(modifiers) : uncurved;
console.log(
  JSON.stringify({
    ...getGradeForScore(score),
    status: seen.responses.auto.status,
    verified: seen.responses.auto.verified,
    failed: results.filter((one) => !one.pass).map((one) => one.result),
    results: results.map((one) => one.result),
  }),
);
