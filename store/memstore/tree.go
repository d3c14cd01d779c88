package memstore

import (
	"math/rand/v2"
	"strings"
)

// tree is an ordered map from strings: a treap whose nodes never change once
// they are shared. set and delete copy the path to the root, so that a tree, once
// taken, is a snapshot for ever and can be read without a lock.
type tree[V any] struct {
	root *node[V]
	n    int
}

// node is in search order by key and in heap order by prio, which is random:
// the expected depth is logarithmic whatever the order of insertion.
type node[V any] struct {
	key         string
	value       V
	prio        uint32
	left, right *node[V]
}

func (t tree[V]) len() int { return t.n }

func (t tree[V]) get(key string) (value V, ok bool) {
	for n := t.root; n != nil; {
		switch c := strings.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return value, false
}

func (t tree[V]) set(key string, value V) tree[V] {
	if _, ok := t.get(key); !ok {
		t.n++
	}
	t.root = t.root.set(key, value)
	return t
}

func (t tree[V]) delete(key string) tree[V] {
	if _, ok := t.get(key); !ok {
		return t
	}
	t.n--
	t.root = t.root.delete(key)
	return t
}

// ascend calls yield for start <= key < end in order; an empty end is no bound.
func (t tree[V]) ascend(start, end string, yield func(string, V) bool) {
	t.root.ascend(start, end, yield)
}

// descend is ascend in the opposite order.
func (t tree[V]) descend(start, end string, yield func(string, V) bool) {
	t.root.descend(start, end, yield)
}

// set returns a node that nobody else has seen yet, which the rotations rely on.
func (n *node[V]) set(key string, value V) *node[V] {
	if n == nil {
		return &node[V]{key: key, value: value, prio: rand.Uint32()}
	}
	c := *n
	switch o := strings.Compare(key, n.key); {
	case o < 0:
		l := n.left.set(key, value)
		c.left = l
		if l.prio > c.prio {
			c.left, l.right = l.right, &c
			return l
		}
	case o > 0:
		r := n.right.set(key, value)
		c.right = r
		if r.prio > c.prio {
			c.right, r.left = r.left, &c
			return r
		}
	default:
		c.value = value
	}
	return &c
}

func (n *node[V]) delete(key string) *node[V] {
	c := *n
	switch o := strings.Compare(key, n.key); {
	case o < 0:
		c.left = n.left.delete(key)
	case o > 0:
		c.right = n.right.delete(key)
	default:
		return join(n.left, n.right)
	}
	return &c
}

// join returns a tree of both; all keys of l are smaller than those of r.
func join[V any](l, r *node[V]) *node[V] {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.prio > r.prio:
		c := *l
		c.right = join(l.right, r)
		return &c
	default:
		c := *r
		c.left = join(l, r.left)
		return &c
	}
}

func (n *node[V]) ascend(start, end string, yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	above, below := n.key >= start, end == "" || n.key < end
	if above && !n.left.ascend(start, end, yield) {
		return false
	}
	if above && below && !yield(n.key, n.value) {
		return false
	}
	return !below || n.right.ascend(start, end, yield)
}

func (n *node[V]) descend(start, end string, yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	above, below := n.key >= start, end == "" || n.key < end
	if below && !n.right.descend(start, end, yield) {
		return false
	}
	if above && below && !yield(n.key, n.value) {
		return false
	}
	return !above || n.left.descend(start, end, yield)
}
