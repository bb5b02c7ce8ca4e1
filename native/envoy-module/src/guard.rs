//! The border to Envoy: no panic crosses it.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs a hook's body. A panic is given to `log` and answered with None; the caller then does what is safe.
pub fn guard<R>(hook: &str, log: impl FnOnce(&str), body: impl FnOnce() -> R) -> Option<R> {
    // What a body may leave half done is one request's headers, and that request is then refused.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(panic) => {
            log(&format!(
                "cellplane: {hook} panicked, which is a bug: {}",
                message(&*panic)
            ));
            None
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "no message"
    }
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_result_passes() {
        assert_eq!(guard("hook", |message| panic!("{message}"), || 7), Some(7));
    }

    #[test]
    fn a_panic_is_logged_and_stays_inside() {
        let mut logged = Vec::new();
        let result: Option<()> = guard("hook", |m| logged.push(m.to_owned()), || panic!("of {}", "a String"));
        assert_eq!(result, None);
        let result: Option<()> = guard("hook", |m| logged.push(m.to_owned()), || panic!("of a str"));
        assert_eq!(result, None);
        assert!(logged[0].ends_with("bug: of a String"), "{logged:?}");
        assert!(logged[1].ends_with("bug: of a str"), "{logged:?}");
    }
}
