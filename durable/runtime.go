package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/store"
)

// Runtime is where objects live: it finds, makes and evicts them, runs their
// alarms, and owns the store. It may be used by any goroutine.
type Runtime struct {
	opts       Options
	log        *slog.Logger
	store      store.Store
	clock      *clock
	started    time.Time
	namespaces map[string]*namespace // by class and by binding
	classes    []*namespace

	shards [objectShards]objectShard
	idle   *evictor
	alarms *alarmClock
	moves  moves
	abroad abroad

	life  context.Context // ends when the runtime is closed
	die   context.CancelFunc
	drain context.Context // ends when it begins to shut down
	stop  context.CancelFunc
	ended context.Context // has ended

	cacheUsed atomic.Int64
	bodies    atomic.Int64 // bytes of request bodies held
	answers   atomic.Int64 // bytes of answers not sent yet
	astray    atomic.Int64 // events that wait for a place
	brokenErr atomic.Pointer[error]

	saving sync.Mutex // held while totals are saved

	active   atomic.Int64  // calls inside
	draining atomic.Bool   //
	quiet    chan struct{} // receives when active may have reached zero while draining

	goMu    sync.Mutex
	waiting bool           // guarded by goMu
	wg      sync.WaitGroup // goroutines of the runtime

	closed chan struct{}
	once   sync.Once
	err    error // of the store's Close
}

const objectShards = 64

type objectShard struct {
	mu      sync.Mutex
	objects map[objectKey]*object
}

type objectKey struct {
	ns uint32
	id [32]byte
}

// namespace is what the runtime knows of a class's objects.
type namespace struct {
	rt     *Runtime
	class  *class
	number uint32
	ids    *idMaker
	total  atomic.Int64 // bytes in storage; see quota.go
	saved  int64        // as last written; guarded by Runtime.saving
}

// Open starts a runtime on a store, which it owns from then on: Close closes it.
// The namespaces of classes that the store has not seen are entered in it.
func Open(s store.Store, opts *Options) (*Runtime, error) {
	if s == nil {
		return nil, errors.New("durable: Open needs a store")
	}
	rt := &Runtime{
		opts: opts.withDefaults(), store: s, clock: new(clock), started: time.Now(),
		namespaces: make(map[string]*namespace), quiet: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	rt.log = rt.opts.Logger
	rt.life, rt.die = context.WithCancel(context.Background())
	rt.drain, rt.stop = context.WithCancel(rt.life)
	ended, end := context.WithCancel(context.Background())
	end()
	rt.ended = ended
	rt.abroad.runtime = rand.Uint64()
	for i := range rt.shards {
		rt.shards[i].objects = make(map[objectKey]*object)
	}
	if err := rt.openNamespaces(); err != nil {
		return nil, err
	}
	recount, err := rt.loadTotals()
	if err != nil {
		return nil, err
	}
	rt.idle = newEvictor(rt)
	rt.alarms = newAlarmClock(rt)
	rt.goFunc(rt.idle.run)
	rt.goFunc(rt.alarms.run)
	rt.goFunc(func() { rt.keepTotals(recount) })
	return rt, nil
}

func (rt *Runtime) openNamespaces() error {
	names := make([]string, 0, len(rt.opts.Classes))
	for _, c := range rt.opts.Classes {
		if err := c.c.check(); err != nil {
			return err
		}
		if rt.namespaces[c.c.name] != nil {
			return fmt.Errorf("durable: two classes are named %s", c.c.name)
		}
		for _, other := range rt.classes {
			if other.class.opts.UniqueKey == c.c.opts.UniqueKey {
				return fmt.Errorf("durable: classes %s and %s have the same unique key %q", other.class.name, c.c.name, c.c.opts.UniqueKey)
			}
		}
		n := &namespace{rt: rt, class: c.c}
		rt.namespaces[c.c.name] = n
		rt.classes = append(rt.classes, n)
		names = append(names, c.c.name)
	}
	for binding, name := range rt.opts.Bindings {
		n := rt.namespaces[name]
		if n == nil || n.class.name != name {
			return fmt.Errorf("durable: binding %s: there is no class %s", binding, name)
		}
		if other := rt.namespaces[binding]; other != nil && other != n {
			return fmt.Errorf("durable: binding %s has the name of a class", binding)
		}
		rt.namespaces[binding] = n
	}
	records, err := enterClasses(rt.life, rt.store, rt.classes)
	if err != nil {
		return err
	}
	for i, name := range names {
		r := records.Classes[name]
		n := rt.classes[i]
		n.number = r.Number
		n.ids = newIDMaker(r.Number, r.UniqueKey)
	}
	return nil
}

// Namespace returns the objects of a class, by the name of a class or of a
// binding, nil if there is none.
func (rt *Runtime) Namespace(name string) *Namespace {
	n := rt.namespaces[name]
	if n == nil {
		return nil
	}
	return &Namespace{n: n}
}

// object returns the runtime's side of an object, making it if need be: nil if place
// is not nil, and that tenure over.
func (rt *Runtime) object(n *namespace, id [32]byte, name string, named bool, place *Place) *object {
	sh := &rt.shards[id[0]%objectShards]
	key := objectKey{n.number, id}
	sh.mu.Lock()
	if place != nil && place.over.Load() { // under the lock that Vacate takes to find what there is
		sh.mu.Unlock()
		return nil
	}
	o := sh.objects[key]
	made := o == nil
	if made {
		o = &object{ns: n, id: id, place: place, lastUsed: rt.uptime()}
		sh.objects[key] = o
	}
	sh.mu.Unlock()
	if named && len(name) <= store.MaxName {
		o.mu.Lock()
		if !o.named {
			o.name, o.named = name, true
		}
		o.mu.Unlock()
	}
	if made {
		rt.idle.watch(o)
	}
	return o
}

// evict drops the object if it is idle, and reports whether it is gone.
func (rt *Runtime) evict(o *object) bool {
	sh := &rt.shards[o.id[0]%objectShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return true
	}
	if !o.evictLocked() {
		return false
	}
	delete(sh.objects, objectKey{o.ns.number, o.id})
	return true
}

// resident returns all objects in memory.
func (rt *Runtime) resident() []*object {
	var all []*object
	for i := range rt.shards {
		sh := &rt.shards[i]
		sh.mu.Lock()
		for _, o := range sh.objects {
			all = append(all, o)
		}
		sh.mu.Unlock()
	}
	return all
}

func (rt *Runtime) now() time.Time { return rt.clock.now() }

// uptime is a clock that no one can set.
func (rt *Runtime) uptime() time.Duration { return time.Since(rt.started) }

// goFunc runs f on a goroutine that Shutdown waits for, unless that waits already.
func (rt *Runtime) goFunc(f func()) {
	rt.goMu.Lock()
	defer rt.goMu.Unlock()
	if rt.waiting {
		go f()
		return
	}
	rt.wg.Go(f)
}

func (rt *Runtime) waitGoroutines() {
	rt.goMu.Lock()
	rt.waiting = true
	rt.goMu.Unlock()
	rt.wg.Wait()
}

// closeStore closes the store. If events had to be cut off, their code may be in
// the middle of a list, which the store waits for: that is given a few seconds.
func (rt *Runtime) closeStore(cut bool) error {
	if !cut {
		return rt.store.Close()
	}
	done := make(chan error, 1)
	go func() { done <- rt.store.Close() }()
	patience := time.NewTimer(3 * time.Second)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return errors.New("durable: the store is still in use by code of an object that does not return")
	}
}

// logLater logs from a goroutine of its own: handlers of a user's logger run under no lock of ours.
func (rt *Runtime) logLater(level slog.Level, msg string, args ...any) {
	rt.goFunc(func() { rt.log.Log(context.Background(), level, msg, args...) })
}

func (rt *Runtime) enter() { rt.active.Add(1) }

func (rt *Runtime) leave() {
	if rt.active.Add(-1) == 0 && rt.draining.Load() {
		select {
		case rt.quiet <- struct{}{}:
		default:
		}
	}
}

// admits reports why an event that comes here may not begin. Calls of running chains still enter while the runtime drains.
func (rt *Runtime) admits(inChain bool) error {
	if err := rt.broken(); err != nil {
		return err
	}
	if !inChain && rt.draining.Load() {
		return notStarted(ErrShutdown)
	}
	return nil
}

// broken returns ErrStoreBroken or ErrClosed once that is so.
func (rt *Runtime) broken() error {
	if p := rt.brokenErr.Load(); p != nil {
		return *p
	}
	return nil
}

// breakDown makes every later call fail: the engine has lost a write.
func (rt *Runtime) breakDown(cause error) {
	err := fmt.Errorf("%w: %w", ErrStoreBroken, cause)
	if rt.brokenErr.CompareAndSwap(nil, &err) {
		rt.logLater(slog.LevelError, "store is broken", "error", cause)
		rt.stop()
	}
}

// Draining is closed when the runtime begins to shut down, or its store breaks:
// see [Runtime.Err] for which.
func (rt *Runtime) Draining() <-chan struct{} { return rt.drain.Done() }

// Err returns [ErrStoreBroken] once a write or sync of the engine has failed,
// [ErrClosed] once the runtime is closed, and nil otherwise.
func (rt *Runtime) Err() error { return rt.broken() }

// Shutdown ends the runtime in order: new events are refused with [ErrShutdown],
// though those that running events cause still enter; streams and background
// functions have their contexts cancelled; all events are waited for until ctx ends,
// the rest is reset; instances are stopped; everything is flushed and the store
// closed. It returns the store's error, or ctx's if events had to be cut off.
func (rt *Runtime) Shutdown(ctx context.Context) error {
	rt.once.Do(func() {
		rt.draining.Store(true)
		rt.stop()
		cut := rt.awaitQuiet(ctx)
		closed := ErrClosed
		rt.brokenErr.CompareAndSwap(nil, &closed) // from here on no instance is made
		for _, o := range rt.resident() {
			o.mu.Lock()
			o.resetLocked(resetError(ErrShutdown, ""))
			o.mu.Unlock()
		}
		rt.die()
		if cut == nil { // code that does not return would keep us for ever
			rt.waitGoroutines()
		}
		rt.saveTotals(true)
		if rt.err = rt.closeStore(cut != nil); rt.err == nil {
			rt.err = cut
		}
		close(rt.closed)
	})
	<-rt.closed
	return rt.err
}

// awaitQuiet waits until no event is inside, or returns ctx's error.
func (rt *Runtime) awaitQuiet(ctx context.Context) error {
	for rt.active.Load() > 0 {
		select {
		case <-rt.quiet:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close is Shutdown that waits for no event.
func (rt *Runtime) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := rt.Shutdown(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
