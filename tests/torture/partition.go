package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	partitionProcess = -100 // none of the load's
	partitionTime    = 5 * time.Second
)

// partition cuts one replica of notes off from all of etcd, once nothing else is wrong any more: stale reads go on there
// where they are asked for, writes fail in time, and when the cut is healed it catches up with what others wrote.
func (c *cluster) partition(n *notesLoad) (Finding, error) {
	finding := Finding{Check: "notes: a replica that is cut off reads what it has, writes nothing, and catches up"}
	random := rand.New(rand.NewPCG(c.options.seed, 0))
	replica, address := c.services()[0], n.targets["notes"][0]
	before := n.create(partitionProcess, random)
	for _, member := range c.members {
		if err := cut(replica.place, member.place); err != nil {
			return finding, err
		}
	}
	healed := time.Now().Add(partitionTime)
	if before == nil || !n.readsStale(address, before) {
		finding.wrong("no stale read of %s", replica.name)
	}
	failed, ok := n.failsToCreate(address)
	if !ok {
		finding.wrong("a write to %s ended otherwise, after %v", replica.name, failed)
	}
	after := n.create(partitionProcess, random)
	time.Sleep(time.Until(healed))
	healed = time.Now()
	if err := healLinks(); err != nil {
		return finding, err
	}
	if after == nil || !n.readsSoon(address, after) {
		finding.wrong("%s does not catch up in %v", replica.name, readyTime)
	}
	finding.Looked = 3
	finding.Check += fmt.Sprintf(": a write failed after %.2f s, the newest was there %.2f s after healing",
		failed.Seconds(), time.Since(healed).Seconds())
	return finding, nil
}

func (n *notesLoad) readsStale(address string, note *hotNote) bool {
	answer := n.call(address, "GET", "/v1/notes/"+note.id, map[string]string{"Cache-Control": "max-stale"}, "")
	return answer.status == 200 && answer.content == note.content
}

// failsToCreate: the service says so itself, before its client would give up.
func (n *notesLoad) failsToCreate(address string) (time.Duration, bool) {
	token := n.name(partitionProcess)
	op := Op{Process: partitionProcess, Service: "notes", Kind: "create", Token: token, Arg: token + " v0", Start: n.history.now()}
	answer := n.call(address, "POST", "/v1/notes", map[string]string{"Idempotency-Key": token}, op.Arg)
	op.End, op.Key, op.Result = n.history.now(), answer.id, n.resultOf(answer.status)
	n.history.add(op)
	return time.Duration(op.End - op.Start), answer.status == 503 || answer.status == 504
}

func (n *notesLoad) readsSoon(address string, note *hotNote) bool {
	for deadline := time.Now().Add(readyTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if n.call(address, "GET", "/v1/notes/"+note.id, nil, "").status == 200 {
			return true
		}
	}
	return false
}
