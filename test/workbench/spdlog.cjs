const { appendFileSync, mkdirSync } = require('node:fs');
const { dirname } = require('node:path');

// Stands in for the native module by which VS Code writes log files, of which output channels with levels show one:
// it would have to be compiled. The same functions, as far as VS Code calls them; files do not rotate.

const NAMES = ['trace', 'debug', 'info', 'warning', 'error', 'critical'];

class Logger {
  constructor(file) {
    this.file = file;
    this.level = 0;
    this.plain = false;
  }
  write(level, message) {
    if (level < this.level) return;
    const head = `${new Date().toISOString().replace('T', ' ').slice(0, -1)} [${NAMES[level]}] `;
    appendFileSync(this.file, this.plain ? message : `${head}${message}\n`);
  }
  trace(message) {
    this.write(0, message);
  }
  debug(message) {
    this.write(1, message);
  }
  info(message) {
    this.write(2, message);
  }
  warn(message) {
    this.write(3, message);
  }
  error(message) {
    this.write(4, message);
  }
  critical(message) {
    this.write(5, message);
  }
  getLevel() {
    return this.level;
  }
  setLevel(level) {
    this.level = level;
  }
  clearFormatters() {
    this.plain = true;
  }
  setPattern() {}
  flush() {}
  drop() {}
}

const create = async (_name, file) => {
  mkdirSync(dirname(file), { recursive: true });
  return new Logger(file);
};

module.exports.version = 0;
module.exports.setLevel = () => undefined;
module.exports.setFlushOn = () => undefined;
module.exports.Logger = Logger;
module.exports.createRotatingLogger = create;
module.exports.createAsyncRotatingLogger = create;
