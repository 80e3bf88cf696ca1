// What the servers of npm that are more than an echo have in common. They are
// told what to do on standard input, as child_test.go says, and count the TCP
// connections that they have.
'use strict';
const http = require('http');
const readline = require('readline');

// serve listens. start(listener, arrive, leave) puts the server on the listener
// and calls arrive and leave for each client; bye(client) says goodbye to one.
module.exports = ({ start, bye }) => {
  const [host, port] = process.argv.slice(2);
  const listener = http.createServer();
  const sockets = new Set();
  const clients = new Set();
  let draining = false;
  let then = () => {}; // what to do when a socket has closed

  listener.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      setImmediate(() => then());
    });
  });
  start(
    listener,
    (client) => {
      clients.add(client);
      if (draining) bye(client);
    },
    (client) => clients.delete(client),
  );
  listener.listen(Number(port), host, () => console.log('listening', `${host}:${listener.address().port}`));

  // empty calls f once, as soon as there is no socket.
  function empty(f) {
    then = () => {
      if (sockets.size > 0) return;
      then = () => {};
      f();
    };
    then();
  }

  readline.createInterface({ input: process.stdin })
    .on('line', (line) => {
      switch (line) {
        case 'count':
          console.log('count', sockets.size);
          break;
        case 'empty':
          empty(() => console.log('empty'));
          break;
        case 'stop':
          listener.close();
          sockets.forEach((socket) => socket.destroy());
          empty(() => process.exit(0));
          break;
        case 'drain':
          draining = true;
          listener.close();
          clients.forEach(bye);
          empty(() => process.exit(0));
          break;
      }
    })
    .on('close', () => process.exit(0));
};
