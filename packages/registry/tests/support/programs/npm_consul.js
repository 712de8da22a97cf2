// What a program does with npm's consul; prints what it has found, as JSON.
const Client = require("consul");

async function main() {
  const consul = new Client({ host: "127.0.0.1", port: Number(process.argv[2]) });
  const found = { watched: [] };
  const watch = consul.watch({
    method: consul.health.service,
    options: { service: "js-web", passing: true, wait: "20s" },
    backoffFactor: 10,
  });
  const seen = new Promise((resolve, reject) => {
    watch.on("error", reject);
    watch.on("change", (services) => {
      found.watched.push(services.map((one) => one.Service.ID));
      if (found.watched.at(-1).includes("js-web-1")) resolve();
    });
  });
  await consul.agent.service.register({
    name: "js-web",
    id: "js-web-1",
    address: "127.0.0.1",
    port: 8080,
    tags: ["blue"],
    meta: { a: "b" },
    check: { ttl: "30s" },
  });
  await consul.agent.check.pass({ id: "service:js-web-1", note: "fine" });
  await seen;
  watch.end();
  found.services = Object.keys(await consul.agent.services());
  found.tags = (await consul.catalog.services())["js-web"];
  found.checks = (await consul.health.checks("js-web")).map((one) => one.Status);
  found.self = (await consul.agent.self()).Config.Datacenter;
  await consul.agent.service.deregister("js-web-1");
  found.gone = await consul.catalog.service.nodes("js-web");
  console.log(JSON.stringify(found));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
