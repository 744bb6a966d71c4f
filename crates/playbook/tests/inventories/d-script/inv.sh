#!/bin/sh
echo '{"web": {"hosts": ["w1","w2"], "vars": {"p": 80}, "children": ["edge"]}, "edge": ["e1"], "solo": {"v": 1}, "_meta": {"hostvars": {"w1": {"h": [1,{"a":null}]}, "e1": {"t": true}}}}'
