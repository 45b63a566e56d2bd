import type { HyperstepRequest, HyperstepRequests } from '../../../src/dap/protocol';
import type { Requester } from '../../../src/editor/rows/row';

type Answers = {
  readonly [R in HyperstepRequest]?: (
    args: HyperstepRequests[R]['arguments'],
  ) => HyperstepRequests[R]['body'];
};

/** A debug session that answers the custom requests given, and keeps what it was asked. */
export function fakeRequester(
  answers: Answers,
): Requester & { readonly asked: readonly (readonly [string, object])[] } {
  const asked: (readonly [string, object])[] = [];
  return {
    asked,
    request: <T>(command: string, args: object): Promise<T> => {
      asked.push([command, args]);
      const answer = (answers as Record<string, ((args: object) => unknown) | undefined>)[command];
      return answer === undefined
        ? Promise.reject(new Error(`request '${command}' is not known`))
        : Promise.resolve(answer(args) as T);
    },
  };
}
