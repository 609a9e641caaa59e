"""What would go, before anything goes.

channels   a plan of channels: mask and apply from the same lists
weights    a plan of zeros among weights
budget     the smallest plan that leaves no more than a target
costs      parameters and multiply-accumulates of a plan, without building its network
table      what a plan leaves, layer by layer
files      plans as JSON, to be changed by hand and carried out again
layout     how that JSON is written and strictly read
network    which network a plan is for
"""
