// An echo server with npm's ws. It is told what to do on standard input, as
// child_test.go says.
'use strict';
const readline = require('readline');
const { WebSocketServer } = require('ws');

const [host, port] = process.argv.slice(2);
const server = new WebSocketServer({ host, port: Number(port) });
const codes = [];
let then = () => {}; // what to do when a client has gone

server.on('listening', () => console.log('listening', `${host}:${server.address().port}`));
server.on('connection', (client) => {
  client.on('message', (data, binary) => client.send(data, { binary }));
  client.on('error', () => {});
  client.on('close', (code) => {
    codes.push(code);
    setImmediate(() => then()); // ws forgets the client behind this event
  });
});

// empty calls f once, as soon as there is no client.
function empty(f) {
  then = () => {
    if (server.clients.size > 0) return;
    then = () => {};
    f();
  };
  then();
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    switch (line) {
      case 'count':
        console.log('count', server.clients.size);
        break;
      case 'empty':
        empty(() => console.log('empty', ...codes));
        break;
      case 'stop':
        server.close();
        server.clients.forEach((client) => client.terminate());
        empty(() => process.exit(0));
        break;
      case 'drain':
        server.close();
        server.clients.forEach((client) => client.close(1012, 'back soon'));
        empty(() => process.exit(0));
        break;
    }
  })
  .on('close', () => process.exit(0));
