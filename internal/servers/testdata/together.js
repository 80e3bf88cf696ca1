// Calls that wait for each other, for servers that answer many at once.
'use strict';

// together returns a function of n, whose promise resolves once n calls wait:
// the caller must have n in flight.
exports.together = () => {
  let waiting = [];
  return (n) => new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length < n) return;
    waiting.forEach((f) => f());
    waiting = [];
  });
};

// gate holds calls until it is opened.
exports.gate = () => {
  let waiting = [];
  return {
    hold: () => new Promise((resolve) => waiting.push(resolve)),
    held: () => waiting.length,
    open() {
      const n = waiting.length;
      waiting.forEach((f) => f());
      waiting = [];
      return n;
    },
  };
};
