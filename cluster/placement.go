package cluster

import (
	"slices"
	"time"
)

// rank finds out who should own each shard, if who may own any has changed.
func (c *Core) rank() {
	now := c.rankable()
	same := slices.EqualFunc(now, c.candidates, func(p *peer, k candidate) bool { return p.ID == k.id })
	if same {
		return
	}
	c.candidates = c.candidates[:0]
	for _, p := range now {
		c.candidates = append(c.candidates, newCandidate(p.ID, p.Name))
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.winner = winner(s.view.Shard, c.candidates)
	}
}

// rankable returns the incarnations that are alive and stay, the last one of each
// name. If all that are alive are draining, they have to do.
func (c *Core) rankable() []*peer {
	all := c.alive(false)
	if len(all) == 0 {
		all = c.alive(true)
	}
	return slices.DeleteFunc(all, func(p *peer) bool {
		return slices.ContainsFunc(all, func(q *peer) bool { return q.Name == p.Name && q.ID > p.ID })
	})
}

// alive returns the incarnations that live. One that has not renewed yet may be the
// late work of a process that is gone.
func (c *Core) alive(draining bool) []*peer {
	var all []*peer
	for i := range c.peers {
		p := &c.peers[i]
		ok := !p.Ended && !p.hinted && p.Draining == draining && p.Seq > 0 && c.silent(p) < p.TTL
		if p.ID == c.me {
			ok = c.draining == draining && !c.leaving && c.seq > 0
		}
		if ok {
			all = append(all, p)
		}
	}
	return all
}

// silent returns for how long nothing new was seen of a peer.
func (c *Core) silent(p *peer) time.Duration { return c.boot - p.seen }

// changeGroup is how many shards one statement takes or releases: each is a row lock that
// has to wait for that shard's commits, and the first must not wait for the last of a thousand.
const changeGroup = 128

// place takes what is free and should be the node's, and gives away what should be another's.
func (c *Core) place() {
	moving := 0
	for i := range c.shards {
		if c.shards[i].state > serving {
			moving++
		}
	}
	var take, vacate, release []Claim
	for i := range c.shards {
		s := &c.shards[i]
		mine := s.view.Owner == c.me
		switch {
		case s.state == absent && s.unsure:
		case s.state == absent && s.winner == c.me && (mine || c.free(s)):
			s.state = taking
			take = append(take, Claim{s.view.Shard, s.view.Epoch})
		case s.state == absent && mine: // by a take-over that was not answered
			s.state, s.epoch = releasing, s.view.Epoch
			release = append(release, Claim{s.view.Shard, s.epoch})
		case s.state == serving && moving < c.cfg.Group && c.shouldMove(s):
			s.state = vacating
			moving++
			vacate = append(vacate, Claim{s.view.Shard, s.epoch})
		case s.state == vacated:
			s.state = releasing
			release = append(release, Claim{s.view.Shard, s.epoch})
		}
	}
	if len(vacate) > 0 {
		c.do(Vacate{vacate})
	}
	for part := range slices.Chunk(release, changeGroup) {
		c.call(c.cfg.CallTimeout, func(id CallID) Action { return Release{Call: id, Node: c.me, Claims: part} })
	}
	for part := range slices.Chunk(take, changeGroup) {
		c.call(c.cfg.CallTimeout, func(id CallID) Action { return Take{Call: id, Node: c.me, Claims: part} })
	}
}

// free reports whether a shard has no owner that could come back to it.
func (c *Core) free(s *shard) bool {
	if s.view.Owner == Nobody {
		return true
	}
	p := c.peer(s.view.Owner)
	return p == nil || p.Ended
}

// shouldMove reports whether a shard that the node serves has a better place.
func (c *Core) shouldMove(s *shard) bool {
	switch {
	case s.winner == c.me:
		return false
	case c.leaving:
		return true
	}
	w := c.peer(s.winner)
	return w != nil && c.silent(w) < w.TTL/2 // not to one that may just have died
}

func (c *Core) taken(a Take, r Reply) {
	var got []ShardState
	var serve []Claim
	for _, claim := range a.Claims {
		s := c.shard(claim.Shard)
		if s.state != taking {
			continue
		}
		s.state, s.at, s.unsure = absent, c.now, true
		for _, v := range r.Shards {
			if r.Err == nil && v.Shard == claim.Shard && v.Owner == c.me {
				s.state, s.view, s.epoch, s.unsure = serving, v, v.Epoch, false
				got, serve = append(got, v), append(serve, Claim{v.Shard, v.Epoch})
			}
		}
	}
	if len(got) < len(a.Claims) {
		c.stale = true
	}
	if len(got) == 0 {
		return
	}
	c.do(Serve{serve})
	for i := range c.peers {
		if p := &c.peers[i]; p.Name != c.cfg.Name && !p.Ended && c.silent(p) < p.TTL {
			c.do(Tell{p.Name, Hint{c.me, c.cfg.Name, c.draining, got}})
		}
	}
}

func (c *Core) vacated(claims []Claim) {
	for _, claim := range claims {
		if s := c.shard(claim.Shard); s != nil && s.state == vacating && s.epoch == claim.Epoch {
			s.state = vacated
		}
	}
}

func (c *Core) released(a Release, r Reply) {
	gone := make(map[NodeID][]ShardState)
	for _, claim := range a.Claims {
		s := c.shard(claim.Shard)
		if s.state != releasing || s.epoch != claim.Epoch {
			continue
		}
		if r.Err != nil {
			s.state = vacated // once more; the claim is good for one release only
			continue
		}
		s.state, s.at, s.unsure = absent, c.now, true
		for _, v := range r.Shards {
			if v.Shard == claim.Shard && v.Owner == Nobody {
				s.view, s.unsure = v, false
				gone[s.winner] = append(gone[s.winner], v)
			}
		}
		if s.unsure {
			c.stale = true
		}
	}
	for _, k := range c.candidates {
		if p := c.peer(k.id); p != nil && k.id != c.me && len(gone[k.id]) > 0 {
			c.do(Tell{p.Name, Hint{c.me, c.cfg.Name, c.draining, gone[k.id]}})
		}
	}
}

// told takes in a hint. What it says of shards that the node holds is checked with the database.
func (c *Core) told(h Hint) {
	p := c.peer(h.Node)
	for _, v := range h.Shards {
		s := c.shard(v.Shard)
		if s == nil || v.Epoch <= s.view.Epoch {
			continue
		}
		if s.state != absent {
			c.stale = true
			continue
		}
		s.view, s.at, s.unsure = v, c.now, false
	}
	switch {
	case p != nil && h.Draining:
		p.Draining = true
	case p == nil:
		c.peers = append(c.peers, peer{NodeState: NodeState{ID: h.Node, Name: h.Name, TTL: c.cfg.TTL}, seen: c.boot, hinted: true})
	}
}
