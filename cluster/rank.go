package cluster

import "hash/fnv"

// candidate is an incarnation that may own shards.
type candidate struct {
	id   NodeID
	name string
	hash uint64
}

func newCandidate(id NodeID, name string) candidate {
	h := fnv.New64a()
	h.Write([]byte(name))
	return candidate{id, name, h.Sum64()}
}

// winner returns who should own a shard: rendezvous hashing over the names, so
// that a node that comes takes its share from all others, one that goes leaves its
// share to all others, and nothing else moves. Nodes of other versions must agree: the
// hash is part of the protocol.
func winner(shard uint32, among []candidate) NodeID {
	best, top := Nobody, uint64(0)
	for _, c := range among {
		if score := mix(c.hash ^ mix(uint64(shard)+1)); best == Nobody || score > top {
			best, top = c.id, score
		}
	}
	return best
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
