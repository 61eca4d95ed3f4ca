package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Results of an operation, as its client knows them.
const (
	ok      = "ok"
	refused = "refused" // an answer that promises that nothing was written
	unknown = "unknown" // no answer, or one that promises nothing
)

// Op is one operation of one client, a line of a history. Which members count depends on Kind:
//
//	create  Arg: the content. Key of an "ok": the note's id; the idempotency key is Token.
//	repeat  Token: a creation, or a save, that was acknowledged before is sent again. Key: the note's id.
//	write   Arg. Missing: the note was not there.
//	cas     Arg, Expect: the content whose entity tag If-Match named. Failed: it was another. Missing.
//	delete  Missing.
//	read    Value, or Missing. Age: it was asked to be quick, and says how old it may be.
//	save    Arg: the name; Token: the idempotency key.
//	list    Values: everything that is there, in order; while others write, each page is of another moment.
//	snapshot, restore
//	        Of all services: etcd's data are saved, and become again what was saved last.
type Op struct {
	Process int      `json:"process"`
	Service string   `json:"service"`
	Kind    string   `json:"op"`
	Key     string   `json:"key,omitempty"`
	Token   string   `json:"token,omitempty"`
	Arg     string   `json:"arg,omitempty"`
	Expect  string   `json:"expect,omitempty"`
	Start   int64    `json:"start"` // ns since the history's beginning
	End     int64    `json:"end"`
	Result  string   `json:"result"`
	Failed  bool     `json:"failed,omitempty"`
	Missing bool     `json:"missing,omitempty"`
	Value   string   `json:"value,omitempty"`
	Tag     string   `json:"tag,omitempty"` // the entity tag of Value, or of Arg once written
	Age     int64    `json:"age,omitempty"` // s
	Values  []string `json:"values,omitempty"`
}

// History takes what clients record; any goroutine.
type History struct {
	mutex sync.Mutex
	began time.Time
	ops   []Op
	file  *os.File
	out   *bufio.Writer
}

func newHistory(path string) (*History, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &History{began: time.Now(), file: file, out: bufio.NewWriter(file)}, nil
}

func (h *History) now() int64 { return int64(time.Since(h.began)) }

func (h *History) add(op Op) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.ops = append(h.ops, op)
	line, _ := json.Marshal(op)
	h.out.Write(append(line, '\n'))
}

func (h *History) close() error {
	if err := h.out.Flush(); err != nil {
		return err
	}
	return h.file.Close()
}

func readHistory(path string) ([]Op, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var ops []Op
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for number := 1; lines.Scan(); number++ {
		var op Op
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		ops = append(ops, op)
	}
	return ops, lines.Err()
}
