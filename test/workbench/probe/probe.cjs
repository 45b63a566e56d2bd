const { Buffer } = require('node:buffer');
const { appendFileSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { clearInterval, setInterval } = require('node:timers');
const vscode = require('vscode');

const EVERY_MS = 250;
const RESOLUTION_MS = 10;
const SHOWN_BYTES = 64;

/** Each line: how late timers of this process were in the last quarter of a second at worst, and its memory. */
function watchDelays() {
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
  return {
    dispose: () => {
      clearInterval(timer);
      delays.disable();
    },
  };
}

/** The first bytes of what VS Code gives the hex editor to show, as text. */
const editor = {
  openCustomDocument: (uri) => ({ uri, dispose: () => undefined }),
  resolveCustomEditor: async ({ uri }, panel) => {
    const bytes = await vscode.workspace.fs.readFile(uri.with({ query: `range=0:${SHOWN_BYTES}` }));
    panel.webview.html = `<pre id="bytes">${Buffer.from(bytes).toString('hex')}</pre>`;
  },
};

module.exports.activate = ({ subscriptions }) => {
  subscriptions.push(watchDelays(), vscode.window.registerCustomEditorProvider('hexEditor.hexedit', editor));
};
