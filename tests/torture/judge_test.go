package main

import "testing"

func op(kind, key string, start, end int64, change func(*Op)) Op {
	o := Op{Service: "notes", Kind: kind, Key: key, Start: start, End: end, Result: ok}
	change(&o)
	return o
}

func wrote(content string) func(*Op) {
	return func(o *Op) { o.Arg = content; o.Token = origin(content) }
}
func saw(content string) func(*Op) { return func(o *Op) { o.Value = content } }
func aged(seconds int64, content string) func(*Op) {
	return func(o *Op) { o.Value, o.Age = content, seconds }
}
func lost(content string) func(*Op)   { return func(o *Op) { o.Arg, o.Result = content, unknown } }
func denied(content string) func(*Op) { return func(o *Op) { o.Arg, o.Result = content, refused } }
func operated(kind string, start, end int64) Op {
	return Op{Kind: kind, Start: start, End: end, Result: ok}
}
func listed(contents ...string) func(*Op) {
	return func(o *Op) { o.Values = contents }
}

func TestJudge(t *testing.T) {
	created := op("create", "n", 0, 1, wrote("a v0"))
	for name, test := range map[string]struct {
		ops []Op
		bad int
	}{
		"right":                  {[]Op{created, op("write", "n", 2, 3, wrote("a v1")), op("read", "n", 4, 5, saw("a v1"))}, 0},
		"concurrent, either":     {[]Op{created, op("write", "n", 2, 9, wrote("a v1")), op("read", "n", 4, 5, saw("a v0"))}, 0},
		"stale read":             {[]Op{created, op("write", "n", 2, 3, wrote("a v1")), op("read", "n", 4, 5, saw("a v0"))}, 1},
		"stale read, by age":     {[]Op{created, op("write", "n", 2, 3, wrote("a v1")), op("read", "n", 4, 5, aged(1, "a v0"))}, 0},
		"staler than it says":    {[]Op{created, op("write", "n", 2, 3, wrote("a v1")), op("read", "n", 2e9, 2e9+1, aged(1, "a v0"))}, 1},
		"unknown, done late":     {[]Op{created, op("write", "n", 2, 3, lost("a v1")), op("read", "n", 4, 5, saw("a v0")), op("read", "n", 6, 7, saw("a v1"))}, 0},
		"unknown, undone":        {[]Op{created, op("write", "n", 2, 3, lost("a v1")), op("read", "n", 4, 5, saw("a v1")), op("read", "n", 6, 7, saw("a v0"))}, 1},
		"refused, but done":      {[]Op{created, op("write", "n", 2, 3, denied("a v1")), op("read", "n", 4, 5, saw("a v1"))}, 2},
		"acknowledged, not kept": {[]Op{created, op("list", "", 2, 3, listed("b v0")), op("create", "m", 0, 1, wrote("b v0"))}, 1},
		"deleted after the list": {[]Op{created, op("list", "", 2, 3, listed("b v0")), op("create", "m", 0, 1, wrote("b v0")),
			op("delete", "n", 4, 5, func(o *Op) {})}, 1},
		"deleted before the list": {[]Op{created, op("delete", "n", 2, 3, func(o *Op) {}), op("list", "", 4, 5, listed("b v0")),
			op("create", "m", 0, 1, wrote("b v0"))}, 0},
		"created after the list":            {[]Op{created, op("list", "", 2, 3, listed("a v0")), op("create", "m", 4, 5, wrote("b v0"))}, 0},
		"done twice":                        {[]Op{created, op("list", "", 2, 3, listed("a v0", "a v0"))}, 1},
		"two ids for a token":               {[]Op{created, op("create", "m", 2, 3, wrote("a v0"))}, 1},
		"a repeated creation makes another": {[]Op{created, op("repeat", "m", 2, 3, func(o *Op) { o.Token = "a" })}, 1},
		"a repeated creation":               {[]Op{created, op("repeat", "n", 2, 3, func(o *Op) { o.Token = "a" })}, 0},
		"cas of another": {[]Op{created, op("write", "n", 2, 3, wrote("a v1")),
			op("cas", "n", 4, 5, func(o *Op) { o.Arg, o.Expect = "a v2", "a v0" })}, 1},
		"cas refused for no reason": {[]Op{created,
			op("cas", "n", 4, 5, func(o *Op) { o.Arg, o.Expect, o.Failed = "a v2", "a v0", true })}, 1},
		"restored, and gone": {[]Op{created, operated("snapshot", 2, 3), op("write", "n", 4, 5, wrote("a v1")),
			operated("restore", 6, 7), op("read", "n", 8, 9, saw("a v0"))}, 0},
		"restored, and gone though it was in the snapshot": {[]Op{created, op("write", "n", 2, 3, wrote("a v1")),
			operated("snapshot", 4, 5), operated("restore", 6, 7), op("read", "n", 8, 9, saw("a v0"))}, 1},
		"restored, and not gone": {[]Op{created, operated("snapshot", 2, 3), op("write", "n", 4, 5, wrote("a v1")),
			operated("restore", 6, 7), op("read", "n", 8, 9, saw("a v1"))}, 1},
		"a creation that was taken back": {[]Op{operated("snapshot", -9, -8), created, operated("restore", 2, 3),
			op("list", "", 4, 5, listed())}, 0},
		"a creation that was not taken back": {[]Op{created, operated("snapshot", 2, 3), operated("restore", 4, 5),
			op("list", "", 6, 7, listed())}, 1},
		"a creation that is to be taken back": {[]Op{operated("snapshot", -9, -8), created, op("list", "", 2, 3, listed()),
			operated("restore", 4, 5)}, 1},
		"a tag of two contents": {[]Op{created, op("read", "n", 2, 3, func(o *Op) { o.Value, o.Tag = "a v0", "7" }),
			op("write", "n", 4, 5, func(o *Op) { o.Arg, o.Tag = "a v1", "7" })}, 1},
	} {
		failed := 0
		for _, finding := range judge(test.ops) {
			if len(finding.Wrong) > 0 {
				failed++
			}
		}
		if failed != test.bad {
			t.Errorf("%s: %d checks failed instead of %d", name, failed, test.bad)
		}
	}
}

func TestCommitOrder(t *testing.T) {
	save := func(name string, start, end int64) Op {
		o := op("save", "p", start, end, wrote(name))
		o.Service = "feature-store"
		return o
	}
	list := op("list", "p", 9, 10, listed("x", "y"))
	list.Service = "feature-store"
	for _, test := range []struct {
		ops []Op
		bad bool
	}{
		{[]Op{save("y", 0, 1), save("x", 2, 3), list}, false},
		{[]Op{save("y", 0, 5), save("x", 2, 3), list}, false},
		{[]Op{save("x", 0, 1), save("y", 2, 3), list}, true},
	} {
		if bad := len(commitOrder(test.ops).Wrong) > 0; bad != test.bad {
			t.Errorf("%v: %v", test.ops, bad)
		}
	}
}
