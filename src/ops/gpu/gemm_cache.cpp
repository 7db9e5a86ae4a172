namespace primus::ops::gpu {}
