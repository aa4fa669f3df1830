// The states of the parts of each row, `length` digits each, added up: a group takes a digit of a row.
// tree.cl comes before.
__kernel void add_states(__global const long *of_parts, const long parts, const long length, __global long *states,
                         __local long *sums)
{
    const int item = get_local_id(0), items = get_local_size(0);
    const long row = get_group_id(0) / length, digit = get_group_id(0) % length;
    long total = 0;
    for (long part = item; part < parts; part += items)
        total += of_parts[(row * parts + part) * length + digit];
    total = total_of_group(sums, total);
    if (item == 0)
        states[row * length + digit] = total;
}
