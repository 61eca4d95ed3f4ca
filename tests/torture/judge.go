package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Finding is one check of a history and what it found wrong: nothing, where it passed.
type Finding struct {
	Check  string
	Looked int // at so many keys, or operations
	Wrong  []string
}

func (f *Finding) wrong(format string, args ...any) {
	f.Wrong = append(f.Wrong, fmt.Sprintf(format, args...))
}

const porcupineTimeout = 60 * time.Second // for one key

// A note, or the newest save at a point, is a register; "" is none. saved is what a snapshot has.
type registerState struct{ now, saved string }

var register = porcupine.Model{
	Init: func() any { return registerState{} },
	Step: func(state, input, output any) (bool, any) {
		s, op, fits := state.(registerState), input.(Op), true
		switch op.Kind {
		case "snapshot":
			s.saved = s.now
		case "restore":
			s.now = s.saved
		default:
			fits, s.now = step(s.now, op)
		}
		return fits, s
	},
	DescribeOperation: func(input, output any) string {
		op := input.(Op)
		return fmt.Sprintf("%s %s%s %s", op.Kind, op.Arg, op.Value, op.Result)
	},
}

// Can an operation with this result happen in this state, and what is the next one?
func step(state string, op Op) (bool, string) {
	done := op.Result == ok
	switch op.Kind {
	case "read":
		if op.Missing {
			return state == "", state
		}
		return state == op.Value, state
	case "create":
		return state == "", op.Arg
	case "save":
		return true, op.Arg
	case "write":
		if done && op.Missing != (state == "") {
			return false, state
		}
		if state == "" {
			return true, state
		}
		return true, op.Arg
	case "cas":
		if done {
			matches := !op.Missing && !op.Failed
			if matches != (state == op.Expect) || op.Missing != (state == "") {
				return false, state
			}
		}
		if state == op.Expect {
			return true, op.Arg
		}
		return true, state
	case "delete":
		return !done || op.Missing == (state == ""), ""
	}
	return false, state
}

// ---- restorations ----

// restoration: what was acknowledged between the two may be gone afterwards.
type restoration struct{ snapshot, restore Op }

func restorations(ops []Op) []restoration {
	var all []restoration
	for _, op := range ops {
		switch op.Kind {
		case "snapshot":
			all = append(all, restoration{snapshot: op})
		case "restore":
			all[len(all)-1].restore = op
		}
	}
	return all
}

// takenBack says whether a restoration that has begun by then may have taken the operation back.
func takenBack(op Op, restored []restoration, then int64) bool {
	return slices.ContainsFunc(restored, func(r restoration) bool {
		return op.End > r.snapshot.Start && op.Start < r.restore.End && r.restore.Start < then
	})
}

// kept are those of the operations that no restoration may have taken back.
func kept(ops []Op, restored []restoration) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op Op) bool { return takenBack(op, restored, math.MaxInt64) })
}

func judge(ops []Op) []Finding {
	var findings []Finding
	restored := restorations(ops)
	for _, service := range []string{"notes", "feature-store"} {
		var own []Op
		for _, op := range ops {
			if op.Service == service {
				own = append(own, op)
			}
		}
		if len(own) > 0 {
			findings = append(findings, linearizable(service, own, restored), nothingForeign(service, own))
		}
		switch {
		case len(own) == 0:
		case service == "notes":
			findings = append(findings, notesThere(own, restored), onceEach(service, own), tags(own))
		default:
			findings = append(findings, savesThere(own, restored), onceEach(service, own), commitOrder(own))
		}
	}
	return findings
}

// ---- linearizability ----

func linearizable(service string, ops []Op, restored []restoration) Finding {
	finding := Finding{Check: service + ": every key is linearizable"}
	keys := map[string][]porcupine.Operation{}
	for _, op := range ops {
		if op.Key == "" || op.Kind == "list" || op.Kind == "repeat" || op.Result == refused || (op.Result == unknown && op.Kind == "read") {
			continue
		}
		end := op.End
		if op.Result == unknown { // it may happen at any later time: never is as good as after everything else
			end = math.MaxInt64
		}
		begin := op.Start - op.Age*int64(time.Second) // a stale read says what was there at some time since then
		keys[op.Key] = append(keys[op.Key], porcupine.Operation{ClientId: op.Process, Input: op, Call: begin, Return: end})
	}
	finding.Looked = len(keys)
	for key, history := range keys {
		for _, r := range restored {
			for _, op := range []Op{r.snapshot, r.restore} {
				history = append(history, porcupine.Operation{ClientId: op.Process, Input: op, Call: op.Start, Return: op.End})
			}
		}
		switch porcupine.CheckOperationsTimeout(register, history, porcupineTimeout) {
		case porcupine.Illegal:
			finding.wrong("%s: no order of its %d operations explains their results", key, len(history))
		case porcupine.Unknown:
			finding.wrong("%s: undecided after %v", key, porcupineTimeout)
		}
	}
	return finding
}

// ---- what is there ----

// written are the contents that may be there: of all operations that were not refused.
func written(ops []Op) map[string]bool {
	contents := map[string]bool{}
	for _, op := range ops {
		if op.Arg != "" && op.Result != refused {
			contents[op.Arg] = true
		}
	}
	return contents
}

func nothingForeign(service string, ops []Op) Finding {
	finding := Finding{Check: service + ": nothing appears from nowhere"}
	contents := written(ops)
	look := func(where, value string) {
		finding.Looked++
		if !contents[value] {
			finding.wrong("%s: %q was never written, or refused", where, value)
		}
	}
	for _, op := range ops {
		if op.Kind == "read" && op.Result == ok && !op.Missing {
			look(op.Key, op.Value)
		}
		for _, value := range op.Values {
			look("list "+op.Key, value)
		}
	}
	return finding
}

// Every note whose creation was acknowledged before the list was begun is in it, unless a deletion was tried before its
// end. Values of a list are the contents of notes: those that the last write left, which linearizable judges; here their
// keys count.
func notesThere(ops []Op, restored []restoration) Finding {
	finding := Finding{Check: "notes: every acknowledged note is listed"}
	gone := map[string]int64{} // since when it may be
	for _, op := range ops {
		if since, there := gone[op.Key]; op.Kind == "delete" && op.Result != refused && (!there || op.Start < since) {
			gone[op.Key] = op.Start
		}
	}
	forLists(ops, func(list Op) {
		there := map[string]bool{}
		for _, token := range list.Values {
			there[origin(token)] = true
		}
		for _, op := range ops {
			since, deleted := gone[op.Key]
			if op.Kind != "create" || op.Result != ok || op.End > list.Start || deleted && since < list.End ||
				takenBack(op, restored, list.End) {
				continue
			}
			finding.Looked++
			if !there[op.Token] {
				finding.wrong("note %s (%s) is not listed by process %d", op.Key, op.Token, list.Process)
			}
		}
	})
	return finding
}

// Histories are read at the end.
func savesThere(ops []Op, restored []restoration) Finding {
	finding := Finding{Check: "feature-store: every acknowledged save is in the history"}
	acknowledged := map[string][]string{}
	for _, op := range kept(ops, restored) {
		if op.Kind == "save" && op.Result == ok {
			acknowledged[op.Key] = append(acknowledged[op.Key], op.Arg)
		}
	}
	forLists(ops, func(list Op) {
		there := map[string]bool{}
		for _, name := range list.Values {
			there[name] = true
		}
		for _, name := range acknowledged[list.Key] {
			finding.Looked++
			if !there[name] {
				finding.wrong("%s: %s is not in its history", list.Key, name)
			}
		}
	})
	return finding
}

// A request that was sent several times was done once.
func onceEach(service string, ops []Op) Finding {
	finding := Finding{Check: service + ": no idempotent request is done twice"}
	ids := map[string]string{}
	for _, op := range ops {
		if op.Kind != "create" && op.Kind != "repeat" || op.Result != ok {
			continue
		}
		finding.Looked++
		if id, seen := ids[op.Token]; seen && id != op.Key {
			finding.wrong("%s made %s and %s", op.Token, id, op.Key)
		}
		ids[op.Token] = op.Key
	}
	forLists(ops, func(list Op) {
		seen := map[string]bool{}
		for _, value := range list.Values {
			finding.Looked++
			if seen[origin(value)] {
				finding.wrong("list %s: %s is there twice", list.Key, value)
			}
			seen[origin(value)] = true
		}
	})
	return finding
}

// An entity tag names one content of a note.
func tags(ops []Op) Finding {
	finding := Finding{Check: "notes: an entity tag names one content"}
	contents := map[string]string{}
	for _, op := range ops {
		if op.Tag == "" || op.Result != ok {
			continue
		}
		finding.Looked++
		value := op.Value + op.Arg
		name := op.Key + " " + op.Tag
		if before, seen := contents[name]; seen && before != value {
			finding.wrong("%s: %s and %s", name, before, value)
		}
		contents[name] = value
	}
	return finding
}

// A save that was acknowledged before another began is older. Histories are newest first.
func commitOrder(ops []Op) Finding {
	finding := Finding{Check: "feature-store: histories are in the order of commits"}
	saves := map[string]Op{}
	for _, op := range ops {
		if op.Kind == "save" {
			saves[op.Arg] = op
		}
	}
	forLists(ops, func(list Op) {
		latest := int64(math.MinInt64)
		for i := len(list.Values) - 1; i >= 0; i-- { // from old to new: none ends before an older one starts
			op := saves[list.Values[i]]
			finding.Looked++
			if op.Result == ok && op.End < latest {
				finding.wrong("%s: %s had been acknowledged before an older one began", list.Key, op.Arg)
			}
			latest = max(latest, op.Start)
		}
	})
	return finding
}

func forLists(ops []Op, look func(list Op)) {
	for _, op := range ops {
		if op.Kind == "list" && op.Result == ok {
			look(op)
		}
	}
}

// origin is the part of a content that its note keeps for life: "w3-17" of "w3-17 v5".
func origin(content string) string {
	for i := range content {
		if content[i] == ' ' {
			return content[:i]
		}
	}
	return content
}

func report(findings []Finding) (passed, failed int) {
	for _, finding := range findings {
		if len(finding.Wrong) == 0 {
			passed++
			fmt.Printf("ok     %s (%d)\n", finding.Check, finding.Looked)
			continue
		}
		failed++
		fmt.Printf("FAILED %s: %d wrong\n", finding.Check, len(finding.Wrong))
		sort.Strings(finding.Wrong)
		for i, wrong := range finding.Wrong {
			if i == 5 {
				fmt.Println("         ...")
				break
			}
			fmt.Println("         " + wrong)
		}
	}
	return passed, failed
}
