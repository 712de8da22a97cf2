// An application with eureka-js-client; its settings are the first argument, as JSON.
// It takes commands as lines and answers each with one of JSON: the instances that the
// client has of an application, as statuses by instance.
const { Eureka } = require(process.argv[2]);
const readline = require('readline');

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const client = new Eureka({ ...JSON.parse(process.argv[3]), logger: quiet });

function answer(value) {
  console.log(JSON.stringify(value));
}

client.start((error) => {
  answer({ started: !error });
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const [command, argument] = line.split(' ');
    if (command === 'stop') {
      client.stop((failure) => answer({ stopped: !failure }));
      return;
    }
    const found = command === 'vip'
      ? client.getInstancesByVipAddress(argument)
      : client.getInstancesByAppId(argument);
    answer(Object.fromEntries(found.map((one) => [one.instanceId, one.status])));
  });
});
