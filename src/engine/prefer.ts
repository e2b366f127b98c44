import { isFailure } from "#base";
import type { Source } from "#oci";

/** What has a digest from `first` where it has it, and everything else from `second`. A blob that breaks off in `first` goes on in `second`. */
export function prefer(first: Source | undefined, second: Source): Source {
  if (first === undefined) return second;
  const either = async <T>(one: () => Promise<T>, other: () => Promise<T>): Promise<T> => {
    try {
      return await one();
    } catch (error) {
      if (!isFailure(error)) throw error;
      return await other();
    }
  };
  return {
    name: second.name,
    // What a tag names is the registry's to say.
    resolve: (reference, call) =>
      reference.digest === undefined
        ? second.resolve(reference, call)
        : either(
            () => first.resolve(reference, call),
            () => second.resolve(reference, call),
          ),
    referrers: (subject, call) => second.referrers(subject, call),
    fetch: (target, call) =>
      either(
        () => first.fetch(target, call),
        () => second.fetch(target, call),
      ),
    open: (target, range, call) =>
      either(
        () => first.open(target, range, call),
        () => second.open(target, range, call),
      ),
  };
}
