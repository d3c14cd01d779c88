package durable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/perdure/perdure/store"
)

// Placement says where objects live: it is all that a runtime asks of a cluster.
// Without one ([Options].Placement is nil) every object lives here.
//
// Objects are held in shards, each by at most one node at a time: a tenure, which
// has a [Place]. A node that gives one up in order calls [Runtime.Linger] while it
// still answers, then lets Locate wait, calls [Runtime.Vacate], and lets go of the
// lease when that returns, or with [Runtime.VacateEach] of one lease after the other. A node that has lost one calls [Runtime.Drop]. It does not
// begin another tenure of the shard before that has returned.
//
// Methods may be called by any number of goroutines at once.
type Placement interface {
	// Locate returns where the object lives now. While nobody is known to hold it (it is
	// being handed over, or its node has died), Locate waits, until ctx ends or for as
	// long as the placement sees fit; then it returns an error that says so. If ctx has
	// ended before, it only says what is known. For a tenure of this node it returns the
	// same pointer as long as that lasts. While another node hands a shard over, it may
	// go on returning that one, where calls of chains that come back are still let in.
	Locate(ctx context.Context, o store.Object) (*Place, error)

	// Missed tells that an event of o did not get to the node at p: err is a
	// [*NotOwnerError] from there, or [ErrNotDelivered]. What Locate said may be out of date.
	Missed(o store.Object, p *Place, err error)

	// Shards returns the shards that are held here and not being given up, and a channel
	// that is closed when that changes. Their alarms run here. Nil and nil: all, for good.
	Shards() (held []uint32, changed <-chan struct{})
}

// Place is where an object lives. Its fields are not changed once a Placement has returned it.
type Place struct {
	Lease Lease  // not nil: here
	Peer  Peer   // the way to another node, if Lease is nil
	Owner string // name of the node
	Epoch int64  // of the tenure: grows with each, wherever the shard is held

	over atomic.Bool // Vacate or Drop has begun: no more events start under it
}

// Lease is a node's right to answer for an object.
type Lease interface {
	// Check reports why nothing may leave the objects that are held under the lease: it
	// has been lost or given up, or has run out as far as this node can tell. It is asked
	// after an event has run and its commits are durable, before anything leaves: an
	// answer, a call, what Await does. The error should be or wrap [ErrNotOwner]. Check may
	// ask the database; ctx ends with the runtime.
	Check(ctx context.Context) error
}

// Peer is the way to another node. RoundTrip passes the request to what
// [Runtime.Peers] returns there: it streams both bodies, and ends the request there
// when its context ends here. An error that is [ErrNotDelivered] says that the request
// has certainly not been begun, and its body not been read; any other leaves that open.
type Peer interface {
	RoundTrip(r *http.Request) (*http.Response, error)
}

// CallPeer is a Peer that has a shorter way for typed calls, which are whole and mostly
// small. Call passes msg to [Runtime.PeerCall] there and returns the answer, or its first
// limit+1 bytes if it has more than limit. It ends the call there when ctx ends here. Errors
// mean the same as those of RoundTrip; [ErrNotThisWay] itself, not wrapped, says that
// the call has certainly not been begun and is to go as a request. Call keeps msg.
type CallPeer interface {
	Peer
	Call(ctx context.Context, msg []byte, limit int) (answer []byte, err error)
}

var (
	// ErrNotOwner: the object is held by another node, or its lease may have run out here.
	ErrNotOwner = errors.New("durable: this node does not own the object")

	// ErrNotDelivered: a request did not get to another node.
	ErrNotDelivered = errors.New("durable: request not delivered")

	// ErrNotThisWay: a [CallPeer] does not take this call, a Peer may.
	ErrNotThisWay = errors.New("durable: the call has to go as a request")

	// ErrUnreachable: the connection to the object's node could not be made, or broke.
	ErrUnreachable = errors.New("durable: the object's node cannot be reached")
)

// NotOwnerError is a node's refusal of an event for an object that it does not hold. It
// is [ErrNotOwner].
type NotOwnerError struct {
	ID    ID
	Owner string // the node that holds it as far as that node knows, "" if it does not
	Epoch int64  // of that tenure
}

func (e *NotOwnerError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("%v %s", ErrNotOwner, e.ID)
	}
	return fmt.Sprintf("%v %s: node %s does, in epoch %d", ErrNotOwner, e.ID, e.Owner, e.Epoch)
}

// Unwrap returns [ErrNotOwner].
func (e *NotOwnerError) Unwrap() error { return ErrNotOwner }
