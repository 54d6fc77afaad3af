package freshet.compat;

import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;

/** Assertions that throw an AssertionError with a sentence. */
final class Check {
    private Check() { }

    static void that(boolean holds, String sentence) {
        if (!holds) {
            throw new AssertionError(sentence);
        }
    }

    static void equal(Object want, Object got, String what) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(what + " is " + got + ", not " + want);
        }
    }

    /** Runs body, which has to fail with the given exception, bare or as the cause of an ExecutionException. */
    static void fails(Class<? extends Throwable> want, Callable<?> body, String what) throws Exception {
        try {
            body.call();
        } catch (ExecutionException e) {
            if (want.isInstance(e.getCause())) {
                return;
            }
            throw new AssertionError(what + " failed with " + e.getCause() + ", not " + want.getSimpleName(), e);
        } catch (Exception e) {
            if (want.isInstance(e)) {
                return;
            }
            throw new AssertionError(what + " failed with " + e + ", not " + want.getSimpleName(), e);
        }
        throw new AssertionError(what + " succeeded; " + want.getSimpleName() + " was expected");
    }

    /** Polls until the condition holds. */
    static void eventually(long timeoutMs, String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + timeoutMs * 1_000_000;
        while (!condition.call()) {
            that(System.nanoTime() < deadline, "this did not come about in " + timeoutMs + " ms: " + what);
            Thread.sleep(20);
        }
    }
}
