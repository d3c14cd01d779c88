package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/perdure/perdure/store"
)

// data is what an object knows of its storage. Reading goes through three layers:
// the turn (what this event wrote since its last commit point), the cache (keys of
// unfinished commits, which stay there until those are finished, and clean ones,
// which may be dropped), and the engine. All of it is guarded by object.mu.
type data struct {
	loaded bool
	exists bool         // hdr is the object's header
	hdr    store.Header // as the last applied batch left it
	turn   *turn        // nil while no event is inside
	points uint64       // commit points so far: a list is valid within one

	pending []*commit // applied and not known to be finished, in order
	cache   map[string]cached
	whole   bool  // every key is in cache or does not exist
	clean   int64 // bytes of clean cache entries, counted in the runtime's budget
}

type cached struct {
	value []byte  // nil: no such key
	from  *commit // nil: clean
}

// entryOverhead is about what a cache entry costs beyond key and value.
const entryOverhead = 96

// A turn is what was written since the last commit point.
type turn struct {
	ops       []store.Op
	index     map[string]int // of ops by key, once there are many
	deleteAll bool
	delta     int64 // of the object's size; after deleteAll, its size
	bytes     int
	alarm     store.Alarm
	alarmSet  bool
	levels    int    // transactions that are open
	undo      []undo // what they have to take back
}

// turns are those that no object needs: an object at rest has none.
var turns = sync.Pool{New: func() any { return new(turn) }}

// undo takes one write of a transaction back: the newest first.
type undo struct {
	created bool     // the write added an op
	op      store.Op // else what it replaced
	delta   int64
	bytes   int
}

// rollback takes back what was written since the undo log had n records.
func (t *turn) rollback(n int) {
	if n > len(t.undo) { // an outer transaction was rolled back before
		return
	}
	for i := len(t.undo) - 1; i >= n; i-- {
		u := &t.undo[i]
		if u.created {
			last := len(t.ops) - 1
			delete(t.index, t.ops[last].Key)
			t.ops = t.ops[:last]
		} else {
			*t.find(u.op.Key) = u.op
		}
		t.delta, t.bytes = u.delta, u.bytes
	}
	t.undo = t.undo[:n]
}

func (t *turn) empty() bool { return len(t.ops) == 0 && !t.deleteAll && !t.alarmSet }

const indexFrom = 9 // ops from which on a map beats looking through them

func (t *turn) find(key string) *store.Op {
	if t.index != nil {
		if i, ok := t.index[key]; ok {
			return &t.ops[i]
		}
		return nil
	}
	for i := range t.ops {
		if t.ops[i].Key == key {
			return &t.ops[i]
		}
	}
	return nil
}

func (t *turn) set(op store.Op) {
	if old := t.find(op.Key); old != nil {
		*old = op
		return
	}
	t.ops = append(t.ops, op)
	switch {
	case t.index != nil:
		t.index[op.Key] = len(t.ops) - 1
	case len(t.ops) == indexFrom:
		t.index = make(map[string]int, 2*indexFrom)
		for i, op := range t.ops {
			t.index[op.Key] = i
		}
	}
}

// A commit is a batch on its way.
type commit struct {
	obj    *object
	handle store.Commit
	ops    []store.Op
	wiped  bool // the batch has DeleteAll
	alarm  int64
	delta  int64
	state  atomic.Int32
	err    error // once state is commitFailed

	// In here to be one allocation with it.
	batch      store.Batch
	prev, next store.Header
}

const (
	commitPending = iota
	commitDone
	commitFailed
)

// wait blocks until the batch and all before it are durable. If it failed, the
// object has been reset when wait returns. A nil commit is durable.
func (c *commit) wait() error {
	if c == nil {
		return nil
	}
	switch c.state.Load() {
	case commitDone:
		return nil
	case commitPending:
		c.obj.settle(c, c.handle.Wait())
	}
	if c.state.Load() == commitFailed {
		return c.err
	}
	return nil
}

// settle records how c ended.
func (o *object) settle(c *commit, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.state.Load() != commitPending {
		return
	}
	if err != nil {
		o.failLocked(c, err)
		return
	}
	n := slices.Index(o.pending, c) + 1
	for _, p := range o.pending[:n] {
		o.doneLocked(p)
	}
	o.pending = slices.Delete(o.pending, 0, n)
	if n == 0 { // a later commit failed, and the object has been loaded anew since
		o.doneLocked(c)
	}
}

func (o *object) doneLocked(c *commit) {
	if c.state.CompareAndSwap(commitPending, commitDone) {
		if c.alarm != 0 {
			o.rt().alarms.notice(c.alarm)
		}
		o.cleanLocked(c)
	}
}

// cleanLocked makes the cache entries of a durable commit ordinary ones.
func (o *object) cleanLocked(c *commit) {
	for i := range c.ops {
		key := c.ops[i].Key
		e, ok := o.cache[key]
		if !ok || e.from != c {
			continue
		}
		if e.value == nil {
			delete(o.cache, key) // whole, or the engine knows
			continue
		}
		e.from = nil
		if o.admitLocked(len(key) + len(e.value)) {
			o.cache[key] = e
		} else {
			delete(o.cache, key)
			o.whole = false
		}
	}
}

// admitLocked makes room for a clean entry and counts it, or says that there is none.
// One object may hold half of the budget; beyond that it forgets some of its own.
func (o *object) admitLocked(bytes int) bool {
	rt := o.rt()
	budget := rt.opts.Limits.CacheBytes
	cost := int64(bytes) + entryOverhead
	if o.clean+cost > budget/2 || rt.cacheUsed.Load()+cost > budget {
		o.forgetLocked(o.clean / 2)
		if rt.cacheUsed.Load()+cost > budget {
			return false // other objects hold it all; they lose it when they are evicted
		}
	}
	o.clean += cost
	rt.cacheUsed.Add(cost)
	return true
}

// dropCacheLocked forgets the clean entries.
func (o *object) dropCacheLocked() { o.forgetLocked(0) }

// forgetLocked forgets clean entries, any of them, until at most keep bytes are
// left. It keeps them while a DeleteAll is under way, since the engine may still
// show what that removes.
func (o *object) forgetLocked(keep int64) {
	for _, c := range o.pending {
		if c.wiped {
			return
		}
	}
	before := o.clean
	for key, e := range o.cache {
		if o.clean <= keep {
			break
		}
		if e.from == nil {
			delete(o.cache, key)
			o.whole = false
			o.clean -= int64(len(key)+len(e.value)) + entryOverhead
		}
	}
	if len(o.cache) == 0 {
		o.cache = nil
	}
	o.rt().cacheUsed.Add(o.clean - before)
}

// failLocked deals with a commit that did not happen: everything that was read
// from it or written behind it is void.
func (o *object) failLocked(c *commit, err error) {
	rt := o.rt()
	cause := resetError(ErrNotCommitted, "")
	cause.is = append(cause.is, err)
	cause.Retryable = errors.Is(err, store.ErrRefused)
	if errors.Is(err, store.ErrBroken) {
		rt.breakDown(err)
		cause = resetError(ErrStoreBroken, "")
	}
	rt.logLater(slog.LevelError, "commit failed", "object", o.labelLocked(), "error", err)
	i := slices.Index(o.pending, c)
	if i < 0 { // a later one failed first, and the object has been loaded anew since: see load
		c.fail(cause)
		return
	}
	for _, p := range o.pending[i:] {
		p.fail(cause)
	}
	o.loaded = false // see load: it waits for what follows c, which the engine will refuse
	o.resetLocked(cause)
}

// fail makes a commit that is pending a failed one.
func (c *commit) fail(cause error) {
	if c.state.Load() == commitPending {
		c.err = cause
		c.state.Store(commitFailed)
		c.obj.ns.total.Add(-c.delta)
	}
}

// tailLocked returns the last commit that the engine has. One that it is just
// being given is not among them; only misuse asks at that moment.
func (o *object) tailLocked() *commit {
	n := len(o.pending)
	if o.applying {
		n--
	}
	if n > 0 {
		return o.pending[n-1]
	}
	return nil
}

// load reads the header if it is not known. The caller holds the token.
func (o *object) load() error {
	rt := o.rt()
	o.mu.Lock()
	if o.loaded {
		o.mu.Unlock()
		return nil
	}
	failed := o.pending
	o.pending, o.cache, o.whole = nil, nil, false
	rt.cacheUsed.Add(-o.clean)
	o.clean = 0
	o.mu.Unlock()
	for _, c := range failed {
		o.settle(c, c.handle.Wait()) // nothing of the past may still arrive
	}
	l, err := rt.store.Load(rt.life, o.key())
	if err != nil {
		return rt.storeFailed("load "+o.String(), err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone { // what was read is of a tenure that is over, and nobody would count it out of the cache again
		return errGone
	}
	o.loaded, o.exists, o.hdr = true, l.Header != nil, store.Header{}
	if o.exists {
		o.hdr = *l.Header
	}
	o.whole = l.Whole
	for _, e := range l.Entries {
		o.rememberLocked(e.Key, e.Value)
	}
	return nil
}

// rememberLocked caches what the engine returned.
func (o *object) rememberLocked(key string, value []byte) {
	if value == nil {
		return
	}
	if !o.admitLocked(len(key) + len(value)) {
		o.whole = false
		return
	}
	if o.cache == nil {
		o.cache = make(map[string]cached)
	}
	o.cache[key] = cached{value: value}
}

// lookLocked returns a value without asking the engine, if it is known.
func (o *object) lookLocked(key string) (value []byte, known bool) {
	if op := o.turn.find(key); op != nil {
		if op.Delete {
			return nil, true
		}
		return op.Value, true
	}
	if o.turn.deleteAll {
		return nil, true
	}
	if e, ok := o.cache[key]; ok {
		return e.value, true
	}
	return nil, o.whole
}

// fetchLocked returns the values of keys; nil where there is none. It may unlock
// o.mu to ask the engine, and returns with it locked; usable is checked again then.
func (o *object) fetchLocked(ev *event, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	var missing []string
	var at []int
	for i, key := range keys {
		v, known := o.lookLocked(key)
		values[i] = v
		if !known {
			missing = append(missing, key)
			at = append(at, i)
		}
	}
	if missing == nil {
		return values, nil
	}
	points := o.points
	o.mu.Unlock()
	read, err := o.rt().store.Get(o.rt().life, o.key(), missing...)
	o.mu.Lock()
	if err != nil {
		return nil, o.rt().storeFailed("read "+o.labelLocked(), err)
	}
	if err := ev.usableLocked(); err != nil {
		return nil, err
	}
	for j, i := range at {
		// Somebody else may have written the key meanwhile, if the object's code uses goroutines.
		if v, known := o.lookLocked(keys[i]); known {
			values[i] = v
			continue
		}
		values[i] = read[j]
		if o.points == points { // else it may have been written, made durable and forgotten since
			o.rememberLocked(keys[i], read[j])
		}
	}
	return values, nil
}

// fetchOneLocked is fetchLocked for one key, the common case.
func (o *object) fetchOneLocked(ev *event, key string) ([]byte, error) {
	if v, known := o.lookLocked(key); known {
		return v, nil
	}
	values, err := o.fetchLocked(ev, []string{key})
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// writeLocked adds a put or a deletion to the turn; old is the key's present value.
func (o *object) writeLocked(key string, old, value []byte) {
	t := o.turn
	var delta int64
	if old != nil {
		delta -= int64(len(key) + len(old))
	}
	op := store.Op{Key: key, Value: value, Delete: value == nil}
	if value != nil {
		delta += int64(len(key) + len(value))
	}
	before := t.find(key)
	if t.levels > 0 {
		u := undo{delta: t.delta, bytes: t.bytes, created: before == nil}
		if before != nil {
			u.op = *before
		}
		t.undo = append(t.undo, u)
	}
	t.delta += delta
	t.bytes += len(key) + len(value)
	t.set(op)
}

// commitPointLocked ends the turn: what was written in it becomes one batch. It
// unlocks o.mu while the engine takes it, and returns with it locked; whether
// the instance is still alive must be looked at then. If the batch may not be
// committed, the object is reset and the error says why.
func (o *object) commitPointLocked(ev *event) error {
	o.points++
	t := o.turn
	if t.empty() {
		return nil
	}
	if o.gone { // promise 11: another tenure may have begun
		*t = turn{}
		return errMoved
	}
	c, err := o.batchLocked()
	if err != nil {
		if ev.inst != nil {
			o.resetLocked(err)
		}
		*t = turn{}
		return err
	}
	*t = turn{}
	ev.wrote = true
	o.applying = true
	o.mu.Unlock()
	c.handle = o.rt().store.Apply(&c.batch)
	o.mu.Lock()
	o.applying = false
	if o.gone {
		o.rt().moves.tell(o)
	}
	if o.holder == nil { // a reset took the token away meanwhile
		o.grantLocked()
	}
	return nil
}

// batchLocked makes the turn's batch, and lays it over what is known of the object.
func (o *object) batchLocked() (*commit, error) {
	t := o.turn
	rt := o.rt()
	slices.SortFunc(t.ops, func(a, b store.Op) int { return strings.Compare(a.Key, b.Key) })

	next := o.hdr
	next.Size += t.delta
	if t.deleteAll {
		next.Size, next.Alarm = t.delta, store.Alarm{}
	}
	if t.alarmSet {
		next.Alarm = t.alarm
	}
	if !next.Named && o.named {
		next.Named, next.Name = true, o.name
	}
	grown := next.Size - o.hdr.Size
	if total := o.ns.total.Add(grown); grown > 0 && total > rt.opts.Limits.NamespaceBytes {
		o.ns.total.Add(-grown)
		cause := resetError(ErrQuotaExceeded, fmt.Sprintf(": class %s: limit %d bytes", o.ns.class.name, rt.opts.Limits.NamespaceBytes))
		return nil, cause
	}

	c := &commit{obj: o, ops: t.ops, wiped: t.deleteAll, delta: grown, prev: o.hdr}
	b := &c.batch
	*b = store.Batch{Object: o.key(), DeleteAll: t.deleteAll, Ops: t.ops}
	if o.exists {
		b.Prev = &c.prev
	}
	exists := !t.deleteAll || len(t.ops) > 0 || next.Alarm != (store.Alarm{})
	if exists {
		c.next = next
		b.Header = &c.next
	} else {
		next = store.Header{}
	}
	if next.Alarm != o.hdr.Alarm {
		c.alarm = next.Alarm.Next
	}
	if tail := o.tailLocked(); tail != nil {
		b.After = tail.handle
	}
	if t.alarmSet || t.deleteAll {
		if o.inst != nil && o.inst.alarm != nil {
			o.inst.alarm.superseded = true
		}
	}
	o.hdr, o.exists = next, exists

	if t.deleteAll {
		rt.cacheUsed.Add(-o.clean)
		o.clean, o.cache, o.whole = 0, nil, true
	}
	if o.cache == nil && len(t.ops) > 0 {
		o.cache = make(map[string]cached)
	}
	for i := range t.ops {
		op := &t.ops[i]
		e := cached{from: c}
		if !op.Delete {
			e.value = op.Value
		}
		if old, ok := o.cache[op.Key]; ok && old.from == nil {
			cost := int64(len(op.Key)+len(old.value)) + entryOverhead
			o.clean -= cost
			rt.cacheUsed.Add(-cost)
		}
		o.cache[op.Key] = e
	}
	o.pending = append(o.pending, c)
	return c, nil
}

// wholeScan is how many cached keys are sorted for a list before asking the engine is cheaper.
const wholeScan = 256

// overlayLocked returns what lies over the engine's keys in r, in ascending
// order, deletions included, and whether the engine need be asked at all.
func (o *object) overlayLocked(r store.Range) (over []store.Op, engine bool) {
	add := func(op store.Op) {
		if r.Contains(op.Key) {
			over = append(over, op)
		}
	}
	for _, op := range o.turn.ops {
		add(op)
	}
	if !o.turn.deleteAll {
		if o.whole && (len(o.cache) <= wholeScan || slices.ContainsFunc(o.pending, func(c *commit) bool { return c.wiped })) {
			for key, e := range o.cache {
				if e.value != nil && o.turn.find(key) == nil {
					add(store.Op{Key: key, Value: e.value})
				}
			}
		} else {
			engine = true
			for _, c := range o.pending {
				for _, op := range c.ops {
					if e, ok := o.cache[op.Key]; ok && e.from == c && o.turn.find(op.Key) == nil {
						add(op)
					}
				}
			}
		}
	}
	slices.SortFunc(over, func(a, b store.Op) int { return strings.Compare(a.Key, b.Key) })
	return over, engine
}

// scan yields the keys of r as the object's storage is now: over laid over the
// engine's. Key and value are valid during the call only.
func (o *object) scan(ctx context.Context, r store.Range, over []store.Op, engine bool, yield func(key string, value []byte) bool) error {
	if r.Reverse {
		slices.Reverse(over)
	}
	before := func(a, b string) bool {
		if r.Reverse {
			return a > b
		}
		return a < b
	}
	more := true
	// emit yields what lies over the engine's keys up to key, or all.
	emit := func(key string, all bool) {
		for more && len(over) > 0 && (all || before(over[0].Key, key)) {
			if !over[0].Delete {
				more = yield(over[0].Key, over[0].Value)
			}
			over = over[1:]
		}
	}
	if engine {
		err := o.rt().store.Scan(ctx, o.key(), r, func(k, v []byte) bool {
			key := string(k)
			emit(key, false)
			if more && len(over) > 0 && over[0].Key == key {
				if !over[0].Delete {
					more = yield(key, over[0].Value)
				}
				over = over[1:]
			} else if more {
				more = yield(key, v)
			}
			return more
		})
		if err != nil {
			return o.rt().storeFailed("list "+o.String(), err)
		}
	}
	emit("", true)
	return nil
}
