package cluster

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a [Core] is made with. Zero durations mean the defaults.
type Config struct {
	Name   string   // where peers reach this node, and what decides which shards it gets
	Shards []uint32 // all shards of the database, in ascending order

	// TTL is the length of the lease; it is written into the node's row, and others
	// wait that long. Default: 5 s.
	TTL time.Duration

	// Margin is how much earlier the node itself stops. It covers clocks of
	// two machines that run apart by a rate of up to Margin/(2·TTL-Margin) each. Default: TTL/10.
	Margin time.Duration

	RenewEvery  time.Duration // default: TTL/5
	CallTimeout time.Duration // after which a call's outcome is unknown; default: TTL/4, for renewals RenewEvery

	// Group is how many shards are given away at one time. Default: all that there are.
	Group int
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&c.TTL, 5*time.Second)
	def(&c.Margin, c.TTL/10)
	def(&c.RenewEvery, c.TTL/5)
	def(&c.CallTimeout, c.TTL/4)
	if c.Group == 0 {
		c.Group = len(c.Shards)
	}
	return c
}

// A Core decides for one node and one database. It is not safe for concurrent use.
//
// Invariants kept here (the simulation watches them, see sim_test.go):
//
//  1. A node answers for a shard only after the database has granted the take-over
//     to its present incarnation: never because a map or a message says so.
//  2. It answers until it has given the shard up itself, or its lease may have run
//     out. The lease counts from before the sending of the last renewal that succeeded.
//  3. It asks for a release only after it has stopped answering, and never serves that epoch again.
//  4. It ends another's incarnation only if it has seen one and the same renewal for
//     that one's whole lease, by a clock that nobody sets.
//  5. A reply belongs to one call of the present incarnation; one that comes later is as if lost.
type Core struct {
	cfg   Config
	clock elapsed
	now   time.Duration // on clock
	boot  time.Duration

	stage     stage
	me        NodeID // the incarnation; while outside: the one to be replaced
	seq       int64
	leaseEnd  time.Duration
	nextRenew time.Duration // while outside: when to try to join
	draining  bool          // asked for, here or in the row
	inRow     bool          // the row says so
	rowAt     time.Duration // when that was last known from elsewhere than a map
	leaving   bool
	stale     bool // the map has to be read before the next renewal
	lastLook  time.Duration
	mapAt     time.Duration // Boot, when a map last came

	calls    []call
	lastCall CallID

	peers      []peer // the incarnations of the last map, mine too
	candidates []candidate
	shards     []shard
	holdOff    time.Duration // a call has failed: no other one but renewals before this

	out []Action
}

type stage uint8

const (
	outside stage = iota // no lease, nothing held
	inside
	ending // has given up everything, and says so
	left   // has nothing left but the way to others
)

// peer is what a node knows of an incarnation.
type peer struct {
	NodeState
	seen   time.Duration // Boot, when this Seq was first seen
	ending bool          // a call to end it is under way
	hinted bool          // known from a hint only
}

// shard is what a node knows and does of a shard.
type shard struct {
	view   ShardState
	at     time.Duration // when a reply or a hint last said something of it
	unsure bool          // what that was: view may be wrong, wait for a map
	winner NodeID        // who should own it
	state  holding
	epoch  int64 // of what is held
}

type holding uint8

const (
	absent    holding = iota
	taking            // asked for
	serving           // events start and answers leave
	vacating          // no event starts; those that run may answer
	vacated           // nothing of it is in memory; it has to be released
	releasing         // the release is under way
)

// NewCore returns the core of a node that has not joined yet.
func NewCore(cfg Config, r Reading) *Core {
	c := &Core{cfg: cfg.withDefaults(), clock: elapsed{last: r}, boot: r.Boot, shards: make([]shard, len(cfg.Shards))}
	for i, id := range c.cfg.Shards {
		c.shards[i].view.Shard = id
	}
	return c
}

// CallID pairs a call with its reply.
type CallID int64

// AnyRenewal stands for whichever renewal was the last: a node ends itself so.
const AnyRenewal = -1

// An Action is what the core wants done, in the order in which it is returned. The
// calls are [Register], [Renew], [Look], [End], [Mark], [Take] and [Release]; each is answered by a
// [Reply] or never. The others are carried out before anything else happens.
type Action interface{ action() }

type (
	// Register enters a new incarnation, and ends the one that it replaces, which has given up everything.
	Register struct {
		Call     CallID
		Name     string
		TTL      time.Duration
		Replaces NodeID
	}
	// Renew counts up the renewals of an incarnation that has not ended, and reads the map.
	Renew struct {
		Call CallID
		Node NodeID
	}
	// Look reads the map.
	Look struct{ Call CallID }
	// End ends an incarnation for good, if Seq is still its last renewal, or [AnyRenewal].
	End struct {
		Call CallID
		Node NodeID
		Seq  int64
	}
	// Mark lets all others see that the node is draining.
	Mark struct {
		Call CallID
		Node NodeID
	}
	// Take makes the node the owner of each shard that is still at the given epoch and
	// belongs to nobody, to an incarnation that has ended, or to the node itself; the epoch grows.
	Take struct {
		Call   CallID
		Node   NodeID
		Claims []Claim
	}
	// Release gives up shards that belong to the node at the given epoch; the epoch grows.
	Release struct {
		Call   CallID
		Node   NodeID
		Claims []Claim
	}

	// Serve says that the node owns these shards from now on.
	Serve struct{ Claims []Claim }
	// Vacate says that no event of these shards may start. When those that run have
	// ended and nothing is in memory or on its way to the database, a [Vacated] must follow.
	Vacate struct{ Claims []Claim }
	// Drop says that these shards (all, if Claims is nil) are no longer the node's:
	// nothing may leave, and what is in memory is worth nothing.
	Drop struct {
		Claims []Claim
		Reason string
	}
	// Tell sends a hint to a peer. It may get lost.
	Tell struct {
		Name string
		Hint Hint
	}
	// Left says that the node has nothing more to do.
	Left struct{}
)

func (Register) action() {}
func (Renew) action()    {}
func (Look) action()     {}
func (End) action()      {}
func (Mark) action()     {}
func (Take) action()     {}
func (Release) action()  {}
func (Serve) action()    {}
func (Vacate) action()   {}
func (Drop) action()     {}
func (Tell) action()     {}
func (Left) action()     {}

// Hint is what a node tells others of shards that it took or released, so that they
// need not wait for their next look at the map. Nothing rests on it.
type Hint struct {
	Node     NodeID
	Name     string
	Draining bool // the node takes none
	Shards   []ShardState
}

// An Input is something that has happened to the node.
type Input interface{ input() }

type (
	// Tick is the passing of time.
	Tick struct{}

	// Reply is the outcome of a call. Err is nil, wraps [ErrEnded] if the database
	// refused the incarnation, or else leaves open what the call did.
	Reply struct {
		Call CallID
		Err  error

		Node   NodeID       // of Register
		Seq    int64        // of Register and Renew: the number of this renewal
		Map    *Map         // of Register, Renew and Look
		Ended  bool         // of End: it has ended now
		Shards []ShardState // of Take and Release: those that were taken or released
	}

	// Vacated says that nothing of these shards is in memory any more.
	Vacated struct{ Claims []Claim }

	// Told is a hint of a peer.
	Told struct{ Hint Hint }

	// Stale says that a peer refused a request: the map may be out of date.
	Stale struct{}

	// Drain asks the node to give its shards to others and to take no more.
	Drain struct{}

	// Leave asks the node to give up all shards, whether or not there are others, and to end.
	Leave struct{}
)

func (Tick) input()    {}
func (Reply) input()   {}
func (Vacated) input() {}
func (Told) input()    {}
func (Stale) input()   {}
func (Drain) input()   {}
func (Leave) input()   {}

// call is a call whose reply has not come.
type call struct {
	id       CallID
	sent     time.Duration
	deadline time.Duration
	action   Action
}

// Step tells the core what has happened, and when, and returns what to do. The
// actions are valid until the next Step.
func (c *Core) Step(r Reading, in Input) []Action {
	c.now = c.clock.advance(r)
	c.boot = max(c.boot, r.Boot)
	c.out = c.out[:0]
	// Before anything else: what came in must not be acted upon under a lease that is over.
	if c.stage == inside && c.now >= c.leaseEnd {
		c.lose("the lease ran out before it could be renewed")
	}
	switch in := in.(type) {
	case Reply:
		c.reply(in)
	case Vacated:
		c.vacated(in.Claims)
	case Told:
		c.told(in.Hint)
	case Stale:
		c.stale = true
	case Drain:
		c.draining = true
	case Leave:
		c.draining, c.leaving = true, true
	}
	c.expireCalls()
	c.decide()
	return c.out
}

func (c *Core) decide() {
	switch c.stage {
	case outside:
		c.join()
	case left: // requests are still passed on
		c.stale = c.stale || c.now-c.lastLook >= c.cfg.RenewEvery
		c.look()
	}
	if c.stage != inside {
		return
	}
	c.renew()
	c.rank()
	if c.now < c.holdOff {
		return
	}
	c.look()
	c.mark()
	c.endDead()
	c.place()
	c.end()
}

// Next returns after what time, by Boot, a [Tick] is due at the latest.
func (c *Core) Next() time.Duration {
	next := c.cfg.TTL
	until := func(at, now time.Duration) { next = min(next, max(at-now, 0)) }
	for i := range c.calls {
		until(c.calls[i].deadline, c.now)
	}
	if c.stage == outside && len(c.calls) == 0 {
		until(c.nextRenew, c.now)
	}
	if c.stage == left && len(c.calls) == 0 {
		until(max(c.lastLook+c.cfg.RenewEvery, c.holdOff), c.now)
	}
	if c.stage == inside {
		until(c.leaseEnd, c.now)
		if c.calling(isRenew) == nil {
			until(c.nextRenew, c.now)
		}
		for i := range c.peers {
			if p := &c.peers[i]; p.ID != c.me && !p.Ended && !p.ending && !p.hinted && c.silent(p) < p.TTL {
				until(p.seen+p.TTL, c.boot)
			}
		}
		if c.now < c.holdOff {
			until(c.holdOff, c.now)
		}
		if c.stale && c.calling(isLook) == nil {
			until(max(c.lastLook+c.lookEvery(), c.holdOff), c.now)
		}
	}
	return next
}

// Lease returns until when the node may answer on the strength of its lease, and
// whether it has one. Compare it with [Core.Elapsed].
func (c *Core) Lease() (end time.Duration, ok bool) {
	return c.leaseEnd, c.stage == inside
}

// Elapsed returns a reading on the scale of the lease.
func (c *Core) Elapsed(r Reading) time.Duration { return c.clock.at(r) }

// MayAnswer reports whether, at a reading not before the last step's, an answer of a
// shard held at the given epoch may leave.
func (c *Core) MayAnswer(r Reading, shard uint32, epoch int64) bool {
	s := c.shard(shard)
	return c.stage == inside && s != nil && s.epoch == epoch && (s.state == serving || s.state == vacating) && c.clock.at(r) < c.leaseEnd
}

// MayStart reports whether an event of the shard may start, and at which epoch.
func (c *Core) MayStart(r Reading, shard uint32) (epoch int64, ok bool) {
	s := c.shard(shard)
	if s == nil || s.state != serving || !c.MayAnswer(r, shard, s.epoch) {
		return 0, false
	}
	return s.epoch, true
}

// Owner returns who owns a shard as far as the node knows: [Nobody] too if it is one
// that has not been seen renewing for longer than a node that lives takes.
func (c *Core) Owner(shard uint32) (node NodeID, name string, epoch int64) {
	s := c.shard(shard)
	if s == nil {
		return Nobody, "", 0
	}
	// Measured up to the last map: a node that can't reach the database itself may still know the way.
	if p := c.peer(s.view.Owner); p != nil && !p.Ended && c.mapAt-p.seen < p.TTL*3/5 {
		return p.ID, p.Name, s.view.Epoch
	}
	return Nobody, "", s.view.Epoch
}

// shard finds a shard by its number; databases have every n-th shard, so it is not the index.
func (c *Core) shard(id uint32) *shard {
	lo, hi := 0, len(c.shards)
	for lo < hi {
		if mid := (lo + hi) / 2; c.shards[mid].view.Shard < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(c.shards) || c.shards[lo].view.Shard != id {
		return nil
	}
	return &c.shards[lo]
}

func (c *Core) peer(id NodeID) *peer {
	for i := range c.peers {
		if c.peers[i].ID == id {
			return &c.peers[i]
		}
	}
	return nil
}

func (c *Core) do(a Action) { c.out = append(c.out, a) }

// call enters a call and returns its number.
func (c *Core) call(timeout time.Duration, make func(CallID) Action) {
	c.lastCall++
	a := make(c.lastCall)
	c.calls = append(c.calls, call{c.lastCall, c.now, c.now + timeout, a})
	c.do(a)
}

func (c *Core) calling(is func(Action) bool) *call {
	for i := range c.calls {
		if is(c.calls[i].action) {
			return &c.calls[i]
		}
	}
	return nil
}

func isRenew(a Action) bool { _, ok := a.(Renew); return ok }
func isLook(a Action) bool  { _, ok := a.(Look); return ok }
func isMark(a Action) bool  { _, ok := a.(Mark); return ok }
func isTake(a Action) bool  { _, ok := a.(Take); return ok }

func (c *Core) expireCalls() {
	for i := 0; i < len(c.calls); {
		if c.now < c.calls[i].deadline {
			i++
			continue
		}
		c.reply(Reply{Call: c.calls[i].id, Err: errUnanswered})
	}
}

// reply ends a call. Replies to calls that were given up find nothing here.
func (c *Core) reply(r Reply) {
	for i, k := range c.calls {
		if k.id != r.Call {
			continue
		}
		c.calls = append(c.calls[:i], c.calls[i+1:]...)
		if r.Err != nil {
			c.holdOff = c.now + c.cfg.RenewEvery/4
		}
		if errors.Is(r.Err, ErrEnded) && c.stage == inside {
			c.lose(fmt.Sprintf("the database refused it: %v", r.Err))
			return
		}
		switch a := k.action.(type) {
		case Register:
			c.registered(k, r)
		case Renew:
			c.renewed(k, r)
		case Look:
			c.looked(k, r)
		case End:
			c.ended(a, r)
		case Mark:
			c.marked(r)
		case Take:
			c.taken(a, r)
		case Release:
			c.released(a, r)
		}
		return
	}
}
