//! Named points between steps, where a test can stop the process or act as another user. Outside tests they compile to
//! nothing.

/// A point between two steps.
#[cfg(not(test))]
pub(crate) const fn point(_name: &'static str) {}

#[cfg(test)]
pub(crate) use for_tests::point;

#[cfg(test)]
pub(crate) mod for_tests {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&'static str, usize)>;

    thread_local! {
        static HOOK: RefCell<(usize, Option<Hook>)> = const { RefCell::new((0, None)) };
    }

    pub(crate) fn point(name: &'static str) {
        let (count, hook) = HOOK.with_borrow_mut(|(count, hook)| {
            *count += 1;
            (*count, hook.take())
        });
        if let Some(mut hook) = hook {
            hook(name, count);
            HOOK.with_borrow_mut(|(_, place)| *place = Some(hook));
        }
    }

    /// Calls `hook` with the name and the number (from 1) of each point that this thread passes.
    pub(crate) fn set(hook: impl FnMut(&'static str, usize) + 'static) {
        HOOK.with_borrow_mut(|place| *place = (0, Some(Box::new(hook))));
    }

    pub(crate) fn clear() {
        HOOK.with_borrow_mut(|place| *place = (0, None));
    }
}
