import * as vscode from 'vscode';

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Says what went wrong with something a person asked for. */
export const say = (error: unknown): void =>
  void vscode.window.showErrorMessage(`Hyperstep: ${messageOf(error)}`);

const NUMBER = /^(0x[0-9a-f]+|\d+)$/i;

/** Asks for a number, in hexadecimal or decimal; undefined when nobody answers. */
export async function askNumber(title: string, prompt: string): Promise<number | undefined> {
  const text = await vscode.window.showInputBox({
    title,
    prompt,
    placeHolder: '0x1a2b',
    validateInput: (value) =>
      value === '' || NUMBER.test(value.trim()) ? undefined : 'A number, such as 0x1a2b or 6699',
  });
  return text === undefined || text === '' ? undefined : Number(text.trim());
}
