package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// at is a reading of clocks that agree.
func at(d time.Duration) Reading { return Reading{d, d} }

// find returns the first action of a kind.
func find[A Action](t *testing.T, actions []Action) A {
	t.Helper()
	for _, a := range actions {
		if a, ok := a.(A); ok {
			return a
		}
	}
	var none A
	t.Fatalf("no %T in %+v", none, actions)
	return none
}

// joined returns a core that serves its one shard since the start, with a lease of 10 s and a margin of 1 s.
func joined(t *testing.T) *Core {
	t.Helper()
	c := NewCore(Config{Name: "a:1", Shards: []uint32{7}, TTL: 10 * time.Second}, at(0))
	m := &Map{Nodes: []NodeState{{ID: 1, Name: "a:1", TTL: 10 * time.Second}}, Shards: []ShardState{{Shard: 7}}}
	register := find[Register](t, c.Step(at(0), Tick{}))
	renew := find[Renew](t, c.Step(at(0), Reply{Call: register.Call, Node: 1, Map: m}))
	m.Nodes[0].Seq = 1
	take := find[Take](t, c.Step(at(0), Reply{Call: renew.Call, Seq: 1, Map: m}))
	find[Serve](t, c.Step(at(0), Reply{Call: take.Call, Shards: []ShardState{{7, 1, 1}}}))
	return c
}

func TestLeaseEndsByItself(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Reading
		want bool
	}{
		{"before", at(9*time.Second - 1), true},
		{"at the margin", at(9 * time.Second), false},
		{"suspended, and Boot has not noticed", Reading{time.Second, 9 * time.Second}, false},
		{"the wall clock was put back", Reading{9 * time.Second, -time.Hour}, false},
		{"put back, and still time", Reading{8 * time.Second, -time.Hour}, true},
	} {
		c := joined(t)
		if got := c.MayAnswer(test.r, 7, 1); got != test.want {
			t.Errorf("%s: MayAnswer = %v, want %v", test.name, got, test.want)
		}
		dropped := false
		for _, a := range c.Step(test.r, Tick{}) {
			_, drop := a.(Drop)
			dropped = dropped || drop
		}
		if dropped == test.want {
			t.Errorf("%s: dropped: %v", test.name, dropped)
		}
	}
}

// TestElapsedKeepsWhatItSaw: a suspend that only the wall clock has noticed is not
// forgotten when the wall clock is put back later.
func TestElapsedKeepsWhatItSaw(t *testing.T) {
	c := joined(t)
	c.Step(Reading{1 * time.Second, 6 * time.Second}, Tick{}) // five seconds asleep
	c.Step(Reading{2 * time.Second, 2 * time.Second}, Tick{}) // put back
	if c.MayAnswer(Reading{5 * time.Second, 5 * time.Second}, 7, 1) {
		t.Error("ten seconds may have passed, but it answers")
	}
	if !c.MayAnswer(Reading{3 * time.Second, 3 * time.Second}, 7, 1) {
		t.Error("eight seconds have passed at most, but it does not answer")
	}
}

func TestRenewalExtendsFromItsSending(t *testing.T) {
	c := joined(t)
	renew := find[Renew](t, c.Step(at(2*time.Second), Tick{}))
	c.Step(at(3*time.Second), Reply{Call: renew.Call, Seq: 2, Map: &Map{Nodes: []NodeState{{ID: 1, Name: "a:1", Seq: 2}}}})
	if end, _ := c.Lease(); end != 11*time.Second {
		t.Errorf("the lease ends at %v, want 11s: sent at 2s, 10s long, less 1s", end)
	}
}

func TestRefusalsEndTheLease(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply Reply
	}{
		{"ended by another", Reply{Err: fmt.Errorf("renew: %w", ErrEnded)}},
		{"the database went back", Reply{Seq: 1, Map: &Map{Nodes: []NodeState{{ID: 1, Name: "a:1", Seq: 1}}}}},
		{"its row is gone", Reply{Seq: 2, Map: new(Map)}},
		{"its row says that it has ended", Reply{Seq: 2, Map: &Map{Nodes: []NodeState{{ID: 1, Name: "a:1", Seq: 2, Ended: true}}}}},
	} {
		c := joined(t)
		renew := find[Renew](t, c.Step(at(2*time.Second), Tick{}))
		test.reply.Call = renew.Call
		actions := c.Step(at(2*time.Second), test.reply)
		if drop := find[Drop](t, actions); drop.Claims != nil {
			t.Errorf("%s: drops %v only", test.name, drop.Claims)
		}
		if register := find[Register](t, actions); register.Replaces != 1 {
			t.Errorf("%s: the new incarnation replaces %d, want 1", test.name, register.Replaces)
		}
		if c.MayAnswer(at(2*time.Second), 7, 1) {
			t.Errorf("%s: it answers", test.name)
		}
	}
}

// TestOvertakenShardIsDropped: a hand in the tables has given one shard away.
func TestOvertakenShardIsDropped(t *testing.T) {
	c := joined(t)
	renew := find[Renew](t, c.Step(at(2*time.Second), Tick{}))
	m := &Map{Nodes: []NodeState{{ID: 1, Name: "a:1", Seq: 2}, {ID: 9, Name: "b:1", TTL: time.Second}}, Shards: []ShardState{{7, 5, 9}}}
	drop := find[Drop](t, c.Step(at(2*time.Second), Reply{Call: renew.Call, Seq: 2, Map: m}))
	if len(drop.Claims) != 1 || drop.Claims[0] != (Claim{7, 1}) {
		t.Errorf("it drops %v, want shard 7 at epoch 1", drop.Claims)
	}
	if c.MayAnswer(at(2*time.Second), 7, 1) {
		t.Error("it answers")
	}
}

// TestOwner: what a hint says lasts against a map that was asked for before it, and
// an owner that has not renewed for longer than it should is not sent anything.
func TestOwner(t *testing.T) {
	c := NewCore(Config{Name: "a:1", Shards: []uint32{7}, TTL: 10 * time.Second}, at(0))
	now := time.Second
	want := func(what string, owner NodeID) {
		t.Helper()
		if got, _, _ := c.Owner(7); got != owner {
			t.Errorf("%s: the owner is %d, want %d", what, got, owner)
		}
	}
	nodes := []NodeState{{ID: 1, Name: "a:1", Draining: true, TTL: 10 * time.Second}, {ID: 8, Name: "b:1", Seq: 1, TTL: 10 * time.Second}, {ID: 9, Name: "c:1", Seq: 1, TTL: 10 * time.Second}}
	register := find[Register](t, c.Step(at(now), Tick{}))
	renew := find[Renew](t, c.Step(at(now), Reply{Call: register.Call, Node: 1, Map: &Map{Nodes: nodes, Shards: []ShardState{{7, 1, 8}}}}))
	want("at first", 8)
	now += 100 * time.Millisecond
	c.Step(at(now), Told{Hint{Node: 9, Name: "c:1", Shards: []ShardState{{7, 3, 9}}}})
	want("after a hint", 9)
	answer := func(shard ShardState) {
		nodes[0].Seq++
		c.Step(at(now), Reply{Call: renew.Call, Seq: nodes[0].Seq, Map: &Map{Nodes: append([]NodeState(nil), nodes...), Shards: []ShardState{shard}}})
	}
	answer(ShardState{7, 1, 8})
	want("after a map that is older than the hint", 9)
	for range 3 {
		now += 2 * time.Second
		renew = find[Renew](t, c.Step(at(now), Tick{}))
		answer(ShardState{7, 3, 9})
	}
	want("after six seconds in which it did not renew", Nobody)
	now += 2 * time.Second
	renew = find[Renew](t, c.Step(at(now), Tick{}))
	nodes[2].Seq++
	answer(ShardState{7, 3, 9})
	want("after a renewal", 9)
}

// TestFailingCallsArePaced: a database that refuses at once is not asked again at once.
func TestFailingCallsArePaced(t *testing.T) {
	c := joined(t)
	calls := 0
	for now := time.Duration(0); now < 8*time.Second; now += c.Next() {
		for i := 0; i < 100; i++ {
			actions := append([]Action(nil), c.Step(at(now), Tick{})...)
			if len(actions) == 0 {
				break
			}
			for _, a := range actions {
				calls++
				switch a := a.(type) {
				case Renew:
					c.Step(at(now), Reply{Call: a.Call, Err: errors.New("down")})
				default:
					t.Fatalf("%T", a)
				}
			}
		}
		if c.Next() <= 0 {
			t.Fatalf("Next() = %v at %v", c.Next(), now)
		}
	}
	if calls > 20 {
		t.Errorf("%d calls in 8 s", calls)
	}
}

func TestWinnerMovesOnlyWhatMust(t *testing.T) {
	var three []candidate
	for i := range 3 {
		three = append(three, newCandidate(NodeID(i+1), fmt.Sprintf("10.0.0.%d:7000", i+1)))
	}
	four := append(three[:3:3], newCandidate(9, "10.0.0.4:7000"))
	const shards = 1024
	count := map[NodeID]int{}
	for s := range uint32(shards) {
		before, after := winner(s, three), winner(s, four)
		count[after]++
		if after != before && after != 9 {
			t.Fatalf("shard %d moves from %d to %d when 9 comes", s, before, after)
		}
		again := append(three[:3:3], newCandidate(42, "10.0.0.4:7000")) // 9's next incarnation
		if got := winner(s, again); (got == 42) != (after == 9) {
			t.Fatalf("shard %d: a new incarnation changes the winner from %d to %d", s, after, got)
		}
	}
	for id, n := range count {
		if n < shards/4*8/10 || n > shards/4*12/10 {
			t.Errorf("node %d has %d of %d shards", id, n, shards)
		}
	}
	// Part of the protocol: nodes of all versions must agree.
	if got := fmt.Sprint(winner(0, four), winner(1, four), winner(2, four), winner(1023, four)); got != wantWinners {
		t.Errorf("winners are %s, want %s", got, wantWinners)
	}
}

const wantWinners = "3 1 1 9"
