//! Periodic callbacks.

use std::any::TypeId;

use super::Cx;

/// What a timer or the loop calls.
///
/// The C++ registers them all with a null `user_data`, so a function without captures is enough.
pub type Callback<S> = fn(&mut Cx<'_, S>);

/// Identifies a callback the way the C++ pair of function and `user_data` does.
///
/// The type, because the addresses of two functions with equal bodies may be one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TimerId(TypeId);

impl TimerId {
    pub(crate) fn of<F: 'static>() -> Self {
        const { assert!(size_of::<F>() == 0, "a timer callback captures nothing") };
        Self(TypeId::of::<F>())
    }
}

type BoxedCallback<S> = Box<dyn FnMut(&mut Cx<'_, S>) + Send>;

/// C++: base/EventDispatch.h TimerItem
struct TimerItem<S: 'static> {
    id: TimerId,
    /// Out of its place while it runs.
    callback: Option<BoxedCallback<S>>,
    interval_ms: u64,
    next_tick: u64,
}

/// All timers of a loop. At most six per process, so a scan beats a heap.
pub(crate) struct Timers<S: 'static> {
    items: Vec<TimerItem<S>>,
}

impl<S> Timers<S> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// C++: base/EventDispatch.cpp CEventDispatch::AddTimer
    pub(crate) fn add<F>(&mut self, callback: F, interval_ms: u64, tick: u64)
    where
        F: FnMut(&mut Cx<'_, S>) + Send + 'static,
    {
        // An interval of 0 would never let the loop sleep.
        let interval_ms = interval_ms.max(1);
        let id = TimerId::of::<F>();
        self.remove(id);
        let next_tick = tick + interval_ms;
        let callback = Some(Box::new(callback) as _);
        self.items.push(TimerItem { id, callback, interval_ms, next_tick });
    }

    /// C++: base/EventDispatch.cpp CEventDispatch::RemoveTimer
    pub(crate) fn remove(&mut self, id: TimerId) {
        self.items.retain(|item| item.id != id);
    }

    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.items.iter().map(|item| item.next_tick).min()
    }

    fn due(&self, tick: u64) -> Vec<TimerId> {
        self.items.iter().filter(|item| item.next_tick <= tick).map(|item| item.id).collect()
    }
}

/// Fires every timer that is due, each once: a late one catches up one turn at a time.
///
/// C++: base/EventDispatch.cpp CEventDispatch::_CheckTimer
/// Differs: a callback may add and delete any timer, itself and the next one included (F49).
pub(crate) fn check_timers<S>(cx: &mut Cx<'_, S>) {
    let tick = cx.net.tick();
    for id in cx.net.timers.due(tick) {
        // Looked up one by one: the callback before may have deleted or restarted this one.
        let found = cx.net.timers.items.iter_mut().find(|i| i.id == id && i.next_tick <= tick);
        let Some(item) = found else { continue };
        item.next_tick += item.interval_ms;
        let Some(mut callback) = item.callback.take() else {
            continue;
        };
        callback(cx);
        let found = cx.net.timers.items.iter_mut().find(|i| i.id == id);
        if let Some(item) = found {
            item.callback.get_or_insert(callback);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlib::Netlib;

    type Log = Vec<&'static str>;

    fn a(cx: &mut Cx<'_, Log>) {
        cx.srv.push("a");
    }

    fn b(cx: &mut Cx<'_, Log>) {
        cx.srv.push("b");
    }

    fn run(net: &mut Netlib<Log>, tick: u64) -> Log {
        let mut log = Log::new();
        net.set_tick(tick);
        check_timers(&mut Cx { srv: &mut log, net });
        log
    }

    #[test]
    fn a_timer_fires_at_its_interval_and_not_before() {
        let mut net = Netlib::new(1_000);
        net.register_timer(a, 100);
        assert_eq!(run(&mut net, 1_099), [""; 0]);
        assert_eq!(run(&mut net, 1_100), ["a"]);
        assert_eq!(run(&mut net, 1_199), [""; 0]);
        assert_eq!(run(&mut net, 1_200), ["a"]);
    }

    #[test]
    fn a_late_timer_catches_up_once_per_turn() {
        let mut net = Netlib::new(0);
        net.register_timer(a, 100);
        for _ in 0..3 {
            assert_eq!(run(&mut net, 350), ["a"]);
        }
        assert_eq!(run(&mut net, 350), [""; 0]);
    }

    #[test]
    fn the_same_callback_again_replaces_the_interval_and_restarts_the_delay() {
        let mut net = Netlib::new(0);
        net.register_timer(a, 100);
        net.set_tick(99);
        net.register_timer(a, 50);
        assert_eq!(run(&mut net, 148), [""; 0]);
        assert_eq!(run(&mut net, 149), ["a"]);
        assert_eq!(net.timers.items.len(), 1);
    }

    #[test]
    fn callbacks_with_equal_bodies_are_different_timers() {
        let mut net = Netlib::new(0);
        net.register_timer(|cx: &mut Cx<'_, Log>| cx.srv.push("x"), 10);
        net.register_timer(|cx: &mut Cx<'_, Log>| cx.srv.push("x"), 10);
        assert_eq!(run(&mut net, 10), ["x", "x"]);
    }

    #[test]
    fn a_deleted_timer_is_silent() {
        let mut net = Netlib::new(0);
        net.register_timer(a, 10);
        net.register_timer(b, 10);
        net.delete_timer(a);
        assert_eq!(run(&mut net, 10), ["b"]);
    }

    #[test]
    fn f49_a_callback_may_delete_the_next_timer_and_itself() {
        fn deletes_both(cx: &mut Cx<'_, Log>) {
            cx.srv.push("deletes");
            cx.net.delete_timer(deletes_both);
            cx.net.delete_timer(b);
        }
        let mut net = Netlib::new(0);
        net.register_timer(deletes_both, 10);
        net.register_timer(b, 10);
        net.register_timer(a, 10);
        assert_eq!(run(&mut net, 10), ["deletes", "a"]);
        assert_eq!(run(&mut net, 20), ["a"]);
    }

    #[test]
    fn a_callback_may_restart_itself_with_another_interval() {
        fn slower(cx: &mut Cx<'_, Log>) {
            cx.srv.push("slower");
            cx.net.register_timer(slower, 1_000);
        }
        let mut net = Netlib::new(0);
        net.register_timer(slower, 10);
        assert_eq!(run(&mut net, 10), ["slower"]);
        assert_eq!(run(&mut net, 1_009), [""; 0]);
        assert_eq!(run(&mut net, 1_010), ["slower"]);
    }
}
