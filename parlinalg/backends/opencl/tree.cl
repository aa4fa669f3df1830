// What the items of a group, a power of two, have added up: the first of them gets it.
long total_of_group(__local long *sums, const long own)
{
    const int item = get_local_id(0);
    sums[item] = own;
    for (int half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_)
            sums[item] += sums[item + half_];
    }
    return sums[item];
}
