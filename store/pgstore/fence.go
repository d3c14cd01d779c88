package pgstore

import "fmt"

// fence is what the store knows about its hold on a shard. It is guarded by the mu of
// the shard's committer.
type fence struct {
	held    bool
	epoch   int64
	settled int64 // number of settlements under the epoch
	// unsettled says that a statement with the shard in it may still be applied, though
	// its batches have ended as unknown. It is settled before the next statement or Load.
	unsettled bool
}

// Hold tells the store that a shard was taken over under an epoch, as TakeOver returned
// it: batches that are applied from now on are committed under it.
func (s *Store) Hold(shard uint32, epoch int64) {
	if shard >= s.shards {
		panic(fmt.Sprintf("pgstore: Hold of shard %d of %d", shard, s.shards))
	}
	s.DatabaseOf(shard).committer(shard).hold(shard, epoch)
}

// Release tells the store that it holds shards no more. Batches of theirs that have not
// been sent to the database are refused; those that have been end as they may.
func (s *Store) Release(shards ...uint32) {
	for _, d := range s.dbs {
		d.Release(shards...)
	}
}

// Held returns the epoch under which the store holds a shard.
func (s *Store) Held(shard uint32) (epoch int64, held bool) {
	if shard >= s.shards {
		return 0, false
	}
	c := s.DatabaseOf(shard).committer(shard)
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.fences[shard]
	if f == nil || !f.held {
		return 0, false
	}
	return f.epoch, true
}

// Release is Store.Release for those of the shards that lie here.
func (d *Database) Release(shards ...uint32) {
	of := map[*committer]map[uint32]bool{}
	for _, n := range shards {
		if n >= d.s.shards || d.s.DatabaseOf(n) != d || len(d.committers) == 0 {
			continue
		}
		c := d.committer(n)
		if of[c] == nil {
			of[c] = map[uint32]bool{}
		}
		of[c][n] = true
	}
	for c, set := range of {
		c.release(set)
	}
}

// committer returns the one through which all batches of a shard go.
func (d *Database) committer(shard uint32) *committer {
	return d.committers[int(shard)/len(d.s.dbs)%len(d.committers)]
}
