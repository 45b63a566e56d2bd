// Each line: how late timers of this process were in the last quarter of a second at worst, and its memory.
const { appendFileSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { clearInterval, setInterval } = require('node:timers');

const EVERY_MS = 250;
const RESOLUTION_MS = 10;

module.exports.activate = ({ subscriptions }) => {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  const timer = setInterval(() => {
    const line = {
      time: Date.now(),
      pid: process.pid,
      lateMs: Math.max(0, delays.max / 1e6 - RESOLUTION_MS),
      rss: process.memoryUsage.rss(),
    };
    delays.reset();
    appendFileSync(join(homedir(), 'probe.ndjson'), `${JSON.stringify(line)}\n`);
  }, EVERY_MS);
  subscriptions.push({
    dispose: () => {
      clearInterval(timer);
      delays.disable();
    },
  });
};
