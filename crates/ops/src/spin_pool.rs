//! Threads that stay awake between the short jobs of one decoding step. A step has two hundred of them, of some ten microseconds each:
//! putting rayon's threads to sleep and waking them again between two costs as much as the jobs.

use rayon::current_num_threads;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Looks at an idle pool's job before a thread offers its processor to others.
const PATIENCE: usize = 4096;

type Job = dyn Fn(usize) + Sync;

/// The lead of a pool. Only the thread that got it can give jobs (it is not `Sync`), and not from within one.
pub struct SpinPool<'a> {
    table: &'a Table,
    one_thread: PhantomData<Cell<()>>,
}

/// What the leader and those of rayon's threads that have come to help work from. Who comes late or never holds nobody up.
struct Table {
    /// Tasks of the job in the upper half, the next one to take in the lower
    tasks: Line<AtomicU64>,
    done: Line<AtomicUsize>,
    job: UnsafeCell<Option<*const Job>>,
    over: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// On a cache line of its own.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: the leader alone writes `job`, and only while no task of it is left; a helper reads it after it has taken a task.
unsafe impl Sync for Table {}

impl SpinPool<'_> {
    /// Calls `lead` on a thread of the current pool, with the others at its side.
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

    /// Calls `job` with every number below `n`, each once, and comes back when all have ended. A panic of the job comes out here, when all
    /// have ended. A job must not call rayon: its thread could take up the help that another pool or job waits with, and not come back
    /// before that is over.
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
        // SAFETY: nobody reads the old job, for its tasks are done; the new one outlives this call, which waits for its tasks.
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

    /// Does one task; false where none is left.
    fn take(&self) -> bool {
        if !self.left() {
            return false;
        }
        let word = self.tasks.0.fetch_add(1, Ordering::AcqRel);
        let (task, n) = (word & u64::from(u32::MAX), word >> 32);
        if task >= n {
            return false;
        }
        // SAFETY: this task of the job is taken and not done, so the job is there until it is.
        let job = unsafe { &*(*self.job.get()).expect("a task has a job") };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(task as usize))) {
            let mut first = self.panic.lock().unwrap_or_else(|e| e.into_inner());
            match *first {
                None => *first = Some(panic),
                // not dropped: that might panic, too
                Some(_) => std::mem::forget(panic),
            }
        }
        self.done.0.fetch_add(1, Ordering::Release);
        true
    }
}

/// Sends the helpers home, however the leader ends.
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
        match looks % PATIENCE {
            0 => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}
