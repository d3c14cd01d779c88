package cluster

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// world is one run of the simulation: virtual time, machines with clocks of
// their own, a network, a database, clients, and faults, all drawn from one seed.
type world struct {
	rng     *rand.Rand
	broken  defect
	strict  bool // answers are confirmed by the database
	lenient bool // clocks are out of bounds: only answers are looked at

	now   time.Duration
	queue events
	count int64

	ttl        time.Duration
	renewEvery time.Duration
	rho        float64 // bound of the clocks' drift
	lossRate   float64 // of messages; 0 once things are calm
	lateRate   float64
	outage     time.Duration // the database is down until then
	hang       bool          // without saying so
	calm       bool

	db      simTable
	nodes   []*simNode
	acked   []int   // by shard: the newest value that any client has been told
	served  []int64 // by shard: the newest epoch at which a node began to serve
	failed  string
	trace   []string
	verbose bool
	answers int
}

type event struct {
	at  time.Duration
	seq int64
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.count, do})
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

// latency is that of one message.
func (w *world) latency() time.Duration {
	if w.chance(w.lateRate) {
		return w.between(w.ttl/20, w.ttl*3/2)
	}
	return w.between(w.ttl/1000, w.ttl/100)
}

func (w *world) fail(what string) {
	if w.failed == "" {
		w.failed = fmt.Sprintf("at %v: %s", w.now, what)
	}
}

func (w *world) logf(format string, args ...any) {
	if w.verbose {
		w.trace = append(w.trace, fmt.Sprintf("%v "+format, append([]any{w.now}, args...)...))
	}
}

// run lets time pass until a moment, or until an invariant is violated.
func (w *world) run(until time.Duration) bool {
	for w.failed == "" && len(w.queue) > 0 && w.queue[0].at <= until {
		if w.count > 300_000 {
			w.fail("too many events")
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.watch()
	}
	w.now = max(w.now, until)
	return w.failed == ""
}

// watch checks that no two nodes would answer for a shard now.
func (w *world) watch() {
	if w.lenient || w.broken == checksNothing {
		return // what is answered is looked at alone
	}
	for i := range w.db.shards {
		owner := (*simNode)(nil)
		for _, n := range w.nodes {
			if !n.runs() || n.objects[i] == nil || !n.mayAnswer(uint32(i), n.objects[i].epoch) {
				continue
			}
			if owner != nil {
				w.fail(fmt.Sprintf("shard %d: %s at epoch %d and %s at epoch %d both answer", i, owner.name, owner.objects[i].epoch, n.name, n.objects[i].epoch))
			}
			owner = n
		}
	}
}

// simNode is a machine with one process after the other on it.
type simNode struct {
	w       *world
	name    string
	up      bool
	process int
	core    *Core
	wake    int64 // number of the tick that counts
	objects []*simObject

	paused bool
	inbox  []func()
	cut    time.Duration // the database can't be reached until then

	// The machine's clocks: what they showed at since, and how fast they run.
	since      time.Duration
	boot, wall time.Duration
	rate       float64
	frozen     bool // suspended: Boot stands still
}

// simObject is what a node has of a shard in memory: one object, a counter.
type simObject struct {
	epoch   int64
	value   int
	settled int
	loaded  bool
	loading int  // number of the last read; the answers to others are too old
	busy    bool // an event runs
	stopped bool
}

func (n *simNode) runs() bool { return n.up && !n.paused }

// tickClock brings the clocks up to now.
func (n *simNode) tickClock() {
	passed := time.Duration(float64(n.w.now-n.since) * n.rate)
	n.since = n.w.now
	n.wall += passed
	if !n.frozen {
		n.boot += passed
	}
}

func (n *simNode) reading() Reading {
	n.tickClock()
	switch n.w.broken {
	case ignoresSuspend:
		return Reading{n.boot, n.boot}
	case waitsByWallClock:
		return Reading{n.wall, n.wall}
	}
	return Reading{n.boot, n.wall}
}

func (n *simNode) mayAnswer(shard uint32, epoch int64) bool {
	switch n.w.broken {
	case checksNothing:
		return true
	case answersWhileReleasing:
		_, ok := n.core.Lease()
		return ok && n.core.Elapsed(n.reading()) < n.core.leaseEnd
	}
	return n.core.MayAnswer(n.reading(), shard, epoch)
}

func (n *simNode) start() {
	n.process++
	n.tickClock()
	n.up, n.paused, n.frozen, n.inbox = true, false, false, nil
	n.rate = 1
	n.drift()
	cfg := Config{Name: n.name, TTL: n.w.ttl, RenewEvery: n.w.renewEvery, Group: 1 + n.w.rng.IntN(4)}
	for i := range n.w.db.shards {
		cfg.Shards = append(cfg.Shards, uint32(i))
	}
	n.core = NewCore(cfg, n.reading())
	if n.w.broken == ignoresDrift {
		n.core.cfg.Margin = 0
	}
	n.objects = make([]*simObject, len(n.w.db.shards))
	n.step(Tick{})
}

func (n *simNode) drift() {
	n.tickClock()
	switch n.w.rng.IntN(3) {
	case 0:
		n.rate = 1 - n.w.rho
	case 1:
		n.rate = 1 + n.w.rho
	default:
		n.rate = 1 + n.w.rho*(2*n.w.rng.Float64()-1)
	}
}

func (n *simNode) crash() {
	n.w.logf("%s crashes", n.name)
	n.up, n.process = false, n.process+1
}

// deliver runs do on the node's process as it is now, when that runs.
func (n *simNode) deliver(delay time.Duration, do func()) {
	process := n.process
	n.w.after(delay, func() {
		switch {
		case n.process != process:
		case n.paused:
			n.inbox = append(n.inbox, do)
		default:
			do()
		}
	})
}

func (n *simNode) pause(d time.Duration, suspend bool) {
	n.w.logf("%s stops for %v, suspended %v", n.name, d, suspend)
	n.tickClock()
	n.paused, n.frozen = true, suspend
	process := n.process
	n.w.after(d, func() {
		if n.process != process {
			return
		}
		n.tickClock()
		n.paused, n.frozen = false, false
		for _, do := range n.inbox { // in any order
			n.deliver(n.w.between(0, n.w.ttl/100), do)
		}
		n.inbox = nil
		for range 3 { // what clients have sent meanwhile
			n.deliver(n.w.between(0, n.w.ttl/100), func() { n.request(uint32(n.w.rng.IntN(len(n.objects)))) })
		}
	})
}

func (n *simNode) step(in Input) {
	r := n.reading()
	if n.w.broken != nothing {
		in = n.spoil(in)
	}
	actions := slices.Clone(n.core.Step(r, in))
	if n.w.broken != nothing {
		actions = n.spoilAfter(in, actions)
	}
	for _, a := range actions {
		n.act(a)
	}
	n.wake++
	if !n.up {
		return
	}
	wake := n.wake
	n.deliver(time.Duration(float64(n.core.Next())/n.rate)+n.w.ttl/10_000, func() {
		if n.wake == wake {
			n.step(Tick{})
		}
	})
}

func (n *simNode) act(a Action) {
	w, db := n.w, &n.w.db
	ask := func(call CallID, do func() Reply) {
		w.call(n, true,
			func() func() { r := do(); return func() { n.step(r) } },
			func() { n.step(Reply{Call: call, Err: errors.New("connection refused")}) })
	}
	w.logf("%s: %T%+v", n.name, a, a)
	switch a := a.(type) {
	case Register:
		ask(a.Call, func() Reply { return db.register(a) })
	case Renew:
		ask(a.Call, func() Reply { return db.renew(a) })
	case Look:
		ask(a.Call, func() Reply { return Reply{Call: a.Call, Map: db.read()} })
	case End:
		ask(a.Call, func() Reply { return db.end(a) })
	case Mark:
		ask(a.Call, func() Reply { return db.mark(a) })
	case Take:
		ask(a.Call, func() Reply { return db.take(a) })
	case Release:
		ask(a.Call, func() Reply { return db.release(a) })
	case Serve:
		for _, c := range a.Claims {
			n.serve(c)
		}
	case Vacate:
		for _, c := range a.Claims {
			n.vacate(c)
		}
	case Drop:
		n.drop(a.Claims)
	case Tell:
		if w.chance(w.lossRate) {
			return
		}
		for _, to := range w.nodes {
			if to.name == a.Name {
				to.deliver(w.latency(), func() { to.step(Told{a.Hint}) })
				if w.chance(w.lossRate) {
					to.deliver(w.between(0, 3*w.ttl), func() { to.step(Told{a.Hint}) })
				}
			}
		}
	case Left:
		n.up, n.process = false, n.process+1
	}
}

func (n *simNode) serve(c Claim) {
	if c.Epoch <= n.w.served[c.Shard] && !n.w.lenient {
		n.w.fail(fmt.Sprintf("shard %d: %s serves epoch %d after somebody served %d", c.Shard, n.name, c.Epoch, n.w.served[c.Shard]))
	}
	n.w.served[c.Shard] = c.Epoch
	o := &simObject{epoch: c.Epoch}
	n.objects[c.Shard] = o
	n.load(c.Shard, o)
}

// load reads the object, again and again until there is an answer.
func (n *simNode) load(shard uint32, o *simObject) {
	if n.objects[shard] != o || o.loaded {
		return
	}
	o.loading++
	loading := o.loading
	n.w.call(n, false, func() func() {
		value := n.w.db.shards[shard].value
		return func() {
			if !o.loaded && o.loading == loading {
				o.value, o.loaded = value, true
			}
		}
	}, func() {})
	n.deliver(n.w.ttl/2, func() {
		if o.loading == loading {
			n.load(shard, o)
		}
	})
}

func (n *simNode) vacate(c Claim) {
	o := n.objects[c.Shard]
	o.stopped = true
	if o.busy && n.w.broken != answersWhileReleasing {
		n.deliver(n.w.ttl/50, func() {
			if n.objects[c.Shard] == o {
				n.vacate(c)
			}
		})
		return
	}
	if n.w.broken != answersWhileReleasing {
		n.objects[c.Shard] = nil
	}
	epoch := o.epoch
	n.deliver(1, func() { n.step(Vacated{[]Claim{{c.Shard, epoch}}}) })
}

func (n *simNode) drop(claims []Claim) {
	if claims == nil {
		clear(n.objects)
	}
	for _, c := range claims {
		n.objects[c.Shard] = nil
	}
}
