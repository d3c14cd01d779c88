package cluster

import (
	"encoding/json"
	"time"
)

// Report is what a node writes into its row with each renewal, as JSON, for people.
type Report struct {
	Shards int     // served
	Here   float64 // events a second that were found to belong here
	Away   float64 // and to other nodes

	at         time.Duration
	here, away int64
}

// reportLocked makes the report of what was since the last one.
func (m *member) reportLocked() []byte {
	now := m.core.boot
	here, away := m.n.here.Load(), m.n.away.Load()
	r := Report{Shards: len(m.tenures), at: now, here: here, away: away}
	if passed := (now - m.report.at).Seconds(); passed > 0 {
		r.Here, r.Away = float64(here-m.report.here)/passed, float64(away-m.report.away)/passed
	}
	m.report = r
	text, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	return text
}

// Status is what a node knows of its own part in a database.
type Status struct {
	Database    int
	Incarnation NodeID        // 0: it has no lease
	Left        time.Duration // of the lease
	Shards      int           // held
	Draining    bool
}

// Status returns the node's part in each database.
func (n *Node) Status() []Status {
	var all []Status
	for _, m := range n.members {
		m.mu.Lock()
		s := Status{Database: m.index, Shards: len(m.tenures), Draining: m.core.draining}
		if end, ok := m.core.Lease(); ok {
			s.Incarnation, s.Left = m.core.me, max(end-m.core.Elapsed(n.opts.clocks()), 0)
		}
		m.mu.Unlock()
		all = append(all, s)
	}
	return all
}
