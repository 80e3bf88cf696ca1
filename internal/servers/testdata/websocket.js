// An echo server with npm's websocket. It is told what to do on standard input,
// as child_test.go says.
'use strict';
const http = require('http');
const readline = require('readline');
const WebSocketServer = require('websocket').server;

const [host, port] = process.argv.slice(2);
const listener = http.createServer();
const server = new WebSocketServer({ httpServer: listener, autoAcceptConnections: true });
const clients = new Set();
const codes = [];
let then = () => {}; // what to do when a client has gone

listener.listen(Number(port), host, () => console.log('listening', `${host}:${listener.address().port}`));
server.on('connect', (client) => {
  clients.add(client);
  client.on('message', (m) => {
    if (m.type === 'utf8') client.sendUTF(m.utf8Data);
    else client.sendBytes(m.binaryData);
  });
  client.on('error', () => {});
  client.on('close', (code) => {
    clients.delete(client);
    codes.push(code);
    then();
  });
});

// empty calls f once, as soon as there is no client.
function empty(f) {
  then = () => {
    if (clients.size > 0) return;
    then = () => {};
    f();
  };
  then();
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    switch (line) {
      case 'count':
        console.log('count', clients.size);
        break;
      case 'empty':
        empty(() => console.log('empty', ...codes));
        break;
      case 'stop':
        listener.close();
        clients.forEach((client) => client.socket.destroy());
        empty(() => process.exit(0));
        break;
      case 'drain':
        listener.close();
        clients.forEach((client) => client.close(1001, 'going away'));
        empty(() => process.exit(0));
        break;
    }
  })
  .on('close', () => process.exit(0));
