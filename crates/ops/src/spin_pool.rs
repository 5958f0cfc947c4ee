//! Threads that stay awake between the short jobs of one decoding step. A step has two hundred jobs
//! of some ten microseconds each: putting rayon's threads to sleep and waking them between two jobs
//! costs as much as the jobs.

use rayon::current_num_threads;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Polls of an idle thread before it yields its processor.
const POLLS_BEFORE_YIELD: usize = 4096;

type Job = dyn Fn(usize) + Sync;

/// The leader's handle of a pool. Only the leading thread can give jobs (it is not `Sync`), and not
/// from within a job.
pub struct SpinPool<'a> {
    table: &'a Table,
    one_thread: PhantomData<Cell<()>>,
}

/// The state that the leader and its helpers, which are threads of rayon, share. A helper that
/// comes late or never delays nobody.
struct Table {
    /// The number of tasks in the upper half, the next task to take in the lower.
    tasks: Line<AtomicU64>,
    done: Line<AtomicUsize>,
    job: UnsafeCell<Option<*const Job>>,
    over: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// On a cache line of its own.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: only the leader writes `job`, and only while no task is left; a helper reads it after it
// has taken a task.
unsafe impl Sync for Table {}

impl SpinPool<'_> {
    /// Calls `lead` on a thread of the current rayon pool, with the other threads as helpers.
    pub fn at_work<R: Send>(lead: impl FnOnce(&SpinPool) -> R + Send) -> R {
        let table = Table {
            tasks: Line(AtomicU64::new(0)),
            done: Line(AtomicUsize::new(0)),
            job: UnsafeCell::new(None),
            over: AtomicBool::new(false),
            panic: Mutex::new(None),
        };
        rayon::scope(|scope| {
            for _ in 1..current_num_threads() {
                scope.spawn(|_| table.help());
            }
            let _over = Over(&table);
            lead(&SpinPool {
                table: &table,
                one_thread: PhantomData,
            })
        })
    }

    /// Calls `job` once with every number below `n` and returns when all calls have ended. A panic
    /// of the job is resumed here after that. A job must not call rayon: its thread could start to
    /// help another pool and not return before that one is done.
    pub fn each(&self, n: usize, job: impl Fn(usize) + Sync) {
        assert!(
            u32::try_from(n).is_ok_and(|n| n < u32::MAX / 2),
            "too many tasks"
        );
        if n <= 1 {
            return (0..n).for_each(job);
        }
        let table = self.table;
        let job: *const (dyn Fn(usize) + Sync) = &job;
        // SAFETY: nobody reads the old job, since its tasks are done; the new one outlives this
        // call, which waits for its tasks.
        unsafe {
            let job = std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const Job>(job);
            *table.job.get() = Some(job);
        }
        table.done.0.store(0, Ordering::Relaxed);
        table.tasks.0.store((n as u64) << 32, Ordering::Release);
        while table.take() {}
        wait(|| table.done.0.load(Ordering::Acquire) == n);
        let panic = table.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Table {
    fn help(&self) {
        let over = || self.over.load(Ordering::Acquire);
        while !over() {
            while self.take() {}
            wait(|| over() || self.left());
        }
    }

    fn left(&self) -> bool {
        let word = self.tasks.0.load(Ordering::Relaxed);
        (word & u64::from(u32::MAX)) < word >> 32
    }

    /// Does one task; false if none is left.
    fn take(&self) -> bool {
        if !self.left() {
            return false;
        }
        let word = self.tasks.0.fetch_add(1, Ordering::AcqRel);
        let (task, n) = (word & u64::from(u32::MAX), word >> 32);
        if task >= n {
            return false;
        }
        // SAFETY: the task is taken and not done, so the job is still alive.
        let job = unsafe { &*(*self.job.get()).expect("a task has a job") };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(task as usize))) {
            let mut first = self.panic.lock().unwrap_or_else(|e| e.into_inner());
            match *first {
                None => *first = Some(panic),
                // not dropped: dropping might panic, too
                Some(_) => std::mem::forget(panic),
            }
        }
        self.done.0.fetch_add(1, Ordering::Release);
        true
    }
}

/// Releases the helpers, however the leader ends.
struct Over<'a>(&'a Table);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

fn wait(until: impl Fn() -> bool) {
    let mut looks = 0;
    while !until() {
        looks += 1;
        match looks % POLLS_BEFORE_YIELD {
            0 => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}
