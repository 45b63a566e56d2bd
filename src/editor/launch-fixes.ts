/** What helps against a launch that failed: another file for the argument that the message is about. */
export interface Fix {
  readonly argument: 'kernel' | 'ramdisk' | 'config';
  /** Of the button. */
  readonly label: string;
}

const FIXES: readonly (Fix & { readonly message: RegExp })[] = [
  { message: /^ramdisk: /, argument: 'ramdisk', label: 'Choose a Ramdisk…' },
  { message: /^config: cannot read/, argument: 'config', label: 'Choose a Configuration…' },
  { message: /32-bit/, argument: 'kernel', label: 'Choose a 64-Bit Kernel…' },
  { message: /^kernel: /, argument: 'kernel', label: 'Choose a Kernel…' },
  // The loader's words begin with the file's name.
  {
    message: /\b(image|ELF|bzImage|paravirtuali[sz]ed)\b/,
    argument: 'kernel',
    label: 'Choose Another Kernel…',
  },
];

/** By the words of the refusal; undefined where another file would not help. */
export const fixFor = (message: string): Fix | undefined => {
  const found = FIXES.find((fix) => fix.message.test(message));
  return found === undefined ? undefined : { argument: found.argument, label: found.label };
};

interface Refusal {
  readonly type?: unknown;
  readonly command?: unknown;
  readonly success?: unknown;
  readonly message?: unknown;
  readonly body?: { readonly error?: object };
}

/** The command behind the button, which takes the argument's name. */
export const FIX_COMMAND = 'hyperstep.fixLaunch';

/**
 * A refused launch with a button that leads to what helps (`url` of the protocol's Message; VS Code runs commands
 * from there); any other message as it is.
 */
export function withFix<M extends object>(message: M): M {
  const { type, command, success, message: text, body } = message as Refusal;
  if (type !== 'response' || command !== 'launch' || success !== false || typeof text !== 'string')
    return message;
  const fix = fixFor(text);
  if (fix === undefined || body?.error === undefined) return message;
  const url = `command:${FIX_COMMAND}?${encodeURIComponent(JSON.stringify([fix.argument]))}`;
  return { ...message, body: { ...body, error: { ...body.error, url, urlLabel: fix.label } } };
}
