export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Where lines go is the host's affair (stderr, an output channel, an array in a test). No time stamp: the core has no clock. */
export type LogSink = (level: LogLevel, source: string, message: string) => void;

export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** A log whose lines carry `source` after this one's own, as in `machine/xenstore`. */
  child(source: string): Log;
}

/** @param threshold lines below this level are dropped */
export function createLog(sink: LogSink, source: string, threshold: LogLevel = 'info'): Log {
  const lowest = logLevels.indexOf(threshold);
  const at =
    (level: LogLevel) =>
    (message: string): void => {
      if (logLevels.indexOf(level) >= lowest) sink(level, source, message);
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (name) => createLog(sink, `${source}/${name}`, threshold),
  };
}
