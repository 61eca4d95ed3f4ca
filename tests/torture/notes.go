package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// notesLoad works on a few notes at a time, each for so many operations.
type notesLoad struct {
	*load
	http  *http.Client
	mutex sync.Mutex
	slots [keysInUse]*hotNote
	all   []string // ids
	made  []Op     // creations that were acknowledged
}

type hotNote struct {
	id, origin   string
	tag, content string // seen last
	ops, unknown int
}

type noteAnswer struct {
	status  int // or noAnswer, notSent
	id      string
	content string
	tag     string
	age     int64 // s
	body    []byte
}

func newNotesLoad(l *load) *notesLoad {
	return &notesLoad{load: l, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}}
}

func (n *notesLoad) call(address, method, path string, headers map[string]string, content string) noteAnswer {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	var body io.Reader
	if content != "" {
		note := map[string]any{"title": content}
		if method != "PATCH" {
			note["body"], note["tags"] = strings.Repeat("x", 100), []string{origin(content)}
		}
		text, _ := json.Marshal(note)
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, body)
	if err != nil {
		return noteAnswer{status: notSent}
	}
	// http.Client would repeat some requests by itself, and one record would stand for two.
	request.GetBody = nil
	if method == "PATCH" {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	} else if content != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		request.Header[name] = []string{value}
	}
	response, err := n.http.Do(request)
	if err != nil {
		return noteAnswer{status: transportCode(err)}
	}
	defer response.Body.Close()
	answer := noteAnswer{status: response.StatusCode, tag: response.Header.Get("ETag")}
	if answer.body, err = io.ReadAll(response.Body); err != nil {
		return noteAnswer{status: noAnswer}
	}
	answer.age, _ = strconv.ParseInt(response.Header.Get("Age"), 10, 64)
	var note struct{ ID, Title string }
	if answer.status/100 == 2 && len(answer.body) > 0 && json.Unmarshal(answer.body, &note) == nil {
		answer.id, answer.content = note.ID, note.Title
	}
	return answer
}

// resultOf says what an answer promises.
func (n *notesLoad) resultOf(status int) string {
	switch status {
	case 200, 201, 204, 404, 412:
		return ok
	case notSent, 503, 507:
		return refused
	case noAnswer, 409, 504: // 409: a creation with this idempotency key is running
	default:
		n.note("notes: status " + http.StatusText(status))
	}
	return unknown
}

// create repeats the request until there is an answer, with one idempotency key.
func (n *notesLoad) create(process int, random *rand.Rand) *hotNote {
	token := n.name(process)
	op := Op{Process: process, Service: "notes", Kind: "create", Token: token, Arg: token + " v0", Start: n.history.now(), Result: refused}
	deadline, restorations := time.Now().Add(createTime), n.restorations.Load()
	for n.again(deadline, restorations) {
		answer := n.call(n.target("notes", random), "POST", "/v1/notes", map[string]string{"Idempotency-Key": token}, op.Arg)
		if answer.status == 201 {
			op.Result, op.Key, op.Tag = ok, answer.id, answer.tag
			break
		}
		if n.resultOf(answer.status) != refused {
			op.Result = unknown
		}
		time.Sleep(5 * time.Millisecond)
	}
	op.End = n.history.now()
	n.history.add(op)
	if op.Result != ok {
		return nil
	}
	n.mutex.Lock()
	n.all = append(n.all, op.Key)
	n.made = append(n.made, op)
	n.mutex.Unlock()
	return &hotNote{id: op.Key, origin: token, tag: op.Tag, content: op.Arg}
}

func (n *notesLoad) take(process int, random *rand.Rand) (note *hotNote, tag, content string) {
	slot := random.IntN(keysInUse)
	n.mutex.Lock()
	note = n.slots[slot]
	if note != nil && note.ops < keyOps && note.unknown < keyUnknown {
		defer n.mutex.Unlock()
		note.ops++
		return note, note.tag, note.content
	}
	n.mutex.Unlock()
	if note = n.create(process, random); note != nil {
		n.mutex.Lock()
		n.slots[slot] = note
		n.mutex.Unlock()
		return note, note.tag, note.content
	}
	return nil, "", ""
}

func (n *notesLoad) seen(note *hotNote, op *Op) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if op.Result == unknown && op.Kind != "read" {
		note.unknown++
	}
	if op.Result != ok || op.Age > 0 {
		return
	}
	if op.Missing {
		note.ops = keyOps
	}
	if op.Tag != "" {
		note.tag, note.content = op.Tag, op.Value+op.Arg
	}
}

func putOrPatch(dice int) string { return []string{"PUT", "PATCH"}[dice%2] }

func (n *notesLoad) operate(process int, random *rand.Rand) {
	dice := random.IntN(100)
	if dice < 5 {
		n.create(process, random)
		return
	}
	note, tag, content := n.take(process, random)
	if note == nil {
		return
	}
	op := Op{Process: process, Service: "notes", Key: note.id, Start: n.history.now()}
	address, path := n.target("notes", random), "/v1/notes/"+note.id
	var answer noteAnswer
	switch {
	case dice < 50:
		op.Kind = "read"
		var headers map[string]string
		stale := dice < 15
		if stale {
			headers = map[string]string{"Cache-Control": "max-stale=60"}
		}
		answer = n.call(address, "GET", path, headers, "")
		op.Value, op.Tag = answer.content, answer.tag
		if stale { // for others no age is an excuse
			op.Age = answer.age
		}
	case dice < 72:
		op.Kind, op.Arg = "write", note.origin+" "+n.name(process)
		answer = n.call(address, putOrPatch(dice), path, nil, op.Arg)
		op.Tag = answer.tag
	case dice < 98:
		op.Kind, op.Arg, op.Expect = "cas", note.origin+" "+n.name(process), content
		answer = n.call(address, putOrPatch(dice), path, map[string]string{"If-Match": tag}, op.Arg)
		op.Tag = answer.tag
	default:
		op.Kind = "delete"
		answer = n.call(address, "DELETE", path, nil, "")
	}
	op.End = n.history.now()
	op.Result = n.resultOf(answer.status)
	op.Missing = answer.status == 404
	op.Failed = answer.status == 412
	if answer.status/100 != 2 {
		op.Tag = ""
	}
	n.history.add(op)
	n.seen(note, &op)
	if op.Result == refused {
		time.Sleep(2 * time.Millisecond)
	}
}

// repeat sends creations again that were acknowledged: their keys are known as long as the retention says, however wrong
// clocks are.
func (n *notesLoad) repeat() {
	all := kept(n.made, restorations(n.history.ops))
	each(min(len(all), maxRepeated), 4, func(i int) {
		made := all[i*len(all)/min(len(all), maxRepeated)]
		addresses := n.targets["notes"]
		op := Op{Process: repeatProcess, Service: "notes", Kind: "repeat", Token: made.Token, Start: n.history.now()}
		answer := n.call(addresses[i%len(addresses)], "POST", "/v1/notes", map[string]string{"Idempotency-Key": made.Token}, made.Arg)
		op.End, op.Key, op.Result = n.history.now(), answer.id, n.resultOf(answer.status)
		n.history.add(op)
	})
}

// final reads every note and the whole list from every replica, once all is well again.
func (n *notesLoad) final() {
	for replica, address := range n.targets["notes"] {
		process := -1 - replica
		each(len(n.all), 16, func(i int) {
			op := Op{Process: process, Service: "notes", Kind: "read", Key: n.all[i], Start: n.history.now()}
			answer := n.call(address, "GET", "/v1/notes/"+op.Key, nil, "")
			op.End, op.Result, op.Missing = n.history.now(), n.resultOf(answer.status), answer.status == 404
			op.Value, op.Tag = answer.content, answer.tag
			n.history.add(op)
		})
		if !n.list(process, address) {
			n.note("notes: no final list")
		}
	}
}

func (n *notesLoad) listSometimes(process int, random *rand.Rand) {
	n.list(process, n.target("notes", random))
	select {
	case <-n.stop:
	case <-time.After(listPause):
	}
}

func (n *notesLoad) list(process int, address string) bool {
	op := Op{Process: process, Service: "notes", Kind: "list", Start: n.history.now(), Result: ok}
	for cursor := ""; ; {
		answer := n.call(address, "GET", "/v1/notes?limit=100"+cursor, nil, "")
		var page struct {
			Notes []struct{ Title string }
			Next  string `json:"next_cursor"`
		}
		if answer.status != 200 || json.Unmarshal(answer.body, &page) != nil {
			op.Result = unknown
			break
		}
		for _, note := range page.Notes {
			op.Values = append(op.Values, note.Title)
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	op.End = n.history.now()
	n.history.add(op)
	return op.Result == ok
}
