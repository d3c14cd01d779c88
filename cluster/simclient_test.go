package cluster

import "fmt"

// client sends an event to whichever node would take it, and comes back later.
func (w *world) client() {
	w.after(w.between(w.ttl/200, w.ttl/10), w.client)
	shard := uint32(w.rng.IntN(len(w.db.shards)))
	for _, i := range w.rng.Perm(len(w.nodes)) {
		if n := w.nodes[i]; n.runs() && n.request(shard) {
			return
		}
	}
}

// request reports whether the node takes a request.
func (n *simNode) request(shard uint32) bool {
	o := n.objects[shard]
	epoch, ok := n.core.MayStart(n.reading(), shard)
	if n.w.broken == answersWhileReleasing || n.w.broken == checksNothing {
		ok = o != nil && n.mayAnswer(shard, o.epoch)
	} else {
		ok = ok && o != nil && o.epoch == epoch
	}
	if !ok || !o.loaded || o.busy {
		return false
	}
	n.event(shard, o)
	return true
}

// event runs one event: it waits a little, reads or counts up, and answers.
func (n *simNode) event(shard uint32, o *simObject) {
	w := n.w
	known := w.acked[shard] // what a client may have been told before this event was sent
	o.busy = true
	work, rest := w.between(0, w.ttl/20), w.between(0, w.ttl/50)
	if w.chance(0.3) {
		work, rest = 0, 0
	}
	if w.chance(0.05) && !w.calm {
		work = w.between(0, w.ttl)
	}
	write := w.chance(0.5)
	n.deliver(work, func() {
		if n.objects[shard] != o {
			return // dropped
		}
		value := o.value
		if write {
			n.commit(shard, o, known)
			return
		}
		n.deliver(rest, func() { n.answer(shard, o, value, known) })
	})
}

func (n *simNode) commit(shard uint32, o *simObject, known int) {
	w := n.w
	o.value++
	value, settled, node, at, ended := o.value, o.settled, n.core.me, Claim{shard, o.epoch}, false
	w.call(n, false, func() func() {
		ok := w.db.commit(node, at, settled, value)
		return func() {
			if ended || n.objects[shard] != o {
				return
			}
			ended = true
			if ok {
				n.answer(shard, o, value, known)
			} else {
				n.settle(shard, o) // refused: it is another's, or a settlement of ours was not answered
			}
		}
	}, func() {})
	n.deliver(w.ttl/4, func() {
		if !ended && n.objects[shard] == o {
			ended = true
			n.settle(shard, o)
		}
	})
}

// settle finds out about a commit whose outcome is unknown. An object whose shard
// turns out to be another's stays busy until the core drops it.
func (n *simNode) settle(shard uint32, o *simObject) {
	w := n.w
	node, at, ended := n.core.me, Claim{shard, o.epoch}, false
	w.call(n, false, func() func() {
		settled, value, ok := w.db.settle(node, at)
		return func() {
			if !ended && n.objects[shard] == o && ok {
				o.settled, o.value, o.busy = settled, value, false
			}
			ended = true
		}
	}, func() {})
	n.deliver(w.ttl/4, func() {
		if !ended && n.objects[shard] == o {
			ended = true
			n.settle(shard, o)
		}
	})
}

// answer is the end of an event: what leaves is checked first.
func (n *simNode) answer(shard uint32, o *simObject, value, known int) {
	w := n.w
	if n.objects[shard] != o {
		return
	}
	if w.strict {
		n.confirm(shard, o, value, known)
		return
	}
	o.busy = false
	if !n.mayAnswer(shard, o.epoch) {
		return
	}
	w.answered(n, shard, value, known)
}

// confirm is strict mode: the database is asked before an answer leaves.
func (n *simNode) confirm(shard uint32, o *simObject, value, known int) {
	node, at, ended := n.core.me, Claim{shard, o.epoch}, false
	end := func(ok bool) {
		if ended || n.objects[shard] != o {
			return
		}
		ended, o.busy = true, false
		if ok {
			n.w.answered(n, shard, value, known)
		}
	}
	n.w.call(n, false, func() func() {
		ok := n.w.db.holds(node, at)
		return func() { end(ok) }
	}, func() {})
	n.deliver(n.w.ttl/4, func() { end(false) })
}

func (w *world) answered(n *simNode, shard uint32, value, known int) {
	if value < known {
		w.fail(fmt.Sprintf("shard %d: %s answers %d to a client that came after %d was answered: a stale read", shard, n.name, value, known))
	}
	w.answers++
	w.acked[shard] = max(w.acked[shard], value)
}

// fault does something bad, and comes back later.
func (w *world) fault() {
	if w.calm {
		return
	}
	w.after(w.between(w.ttl/10, 2*w.ttl), w.fault)
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(10) {
	case 0:
		if n.up {
			n.crash()
		}
	case 1, 2:
		if !n.up {
			n.start()
		}
	case 3, 4:
		if n.runs() {
			n.pause(w.between(w.ttl/10, 3*w.ttl), w.chance(0.5))
		}
	case 5:
		if n.frozen {
			return // the only clock that goes on is put back: nobody could tell
		}
		if n.runs() {
			n.step(Tick{}) // or a suspend just before it would be hidden by it
		}
		n.tickClock()
		jump := w.between(-10*w.ttl, 10*w.ttl)
		w.logf("the clock of %s is set by %v", n.name, jump)
		n.wall += jump
		if n.runs() {
			n.step(Tick{}) // or one just after it
		}
	case 6:
		w.outage, w.hang = w.now+w.between(w.ttl/10, 2*w.ttl), w.chance(0.5)
		w.logf("the database is down until %v", w.outage)
	case 9:
		if n.runs() {
			n.step(Stale{})
		}
		n.cut = w.now + w.between(w.ttl/10, 3*w.ttl)
		w.logf("%s is cut off from the database until %v", n.name, n.cut)
	case 7:
		n.drift()
	case 8:
		if n.runs() {
			if w.chance(0.5) {
				n.step(Drain{})
			} else {
				n.step(Leave{})
			}
		}
	}
}

// settled reports whether every shard is served by the node that should, and nothing is on its way.
func (w *world) settled() bool {
	for i := range w.db.shards {
		if w.server(i) == nil {
			return false
		}
	}
	return true
}

// server is the node that serves a shard, if it is the one that should.
func (w *world) server(shard int) *simNode {
	var among []candidate
	for _, n := range w.nodes {
		if n.up && !n.core.draining {
			among = append(among, newCandidate(n.core.me, n.name))
		}
	}
	for _, n := range w.nodes {
		if !n.runs() {
			continue
		}
		o := n.objects[shard]
		if _, ok := n.core.MayStart(n.reading(), uint32(shard)); ok && o != nil && o.loaded && n.core.me == winner(uint32(shard), among) {
			return n
		}
	}
	return nil
}

// epochs adds up all epochs: what has not changed has not moved.
func (w *world) epochs() (sum int64) {
	for i := range w.db.shards {
		sum += w.db.shards[i].Epoch
	}
	return sum
}
