// float64 as pairs of float32, for devices that have no float64: Dekker 1971, A floating-point technique for extending
// the available precision, sections 4 and 5, with a fused multiply-add. Sums have a third part, the plain sum, which is
// what counts where it is infinite or NaN.

#pragma OPENCL FP_CONTRACT OFF

float4 load_pair(const float2 v)
{
    return (float4)(v.x, v.y, v.x, 0.0f);
}

float2 store_pair(const float4 s)
{
    return isfinite(s.z) ? s.xy : (float2)(s.z, 0.0f);
}

// s + (high + low), |low| much below |high|
float4 add_to_pair(const float4 s, const float high, const float low, const float plain)
{
    const float sum = s.x + high, back = sum - s.x;
    const float rest = (s.x - (sum - back)) + (high - back) + (s.y + low);
    const float first = sum + rest;
    return (float4)(first, rest - (first - sum), s.z + plain, 0.0f);
}

float4 add_pairs(const float4 s, const float4 t)
{
    return add_to_pair(s, t.x, t.y, t.z);
}

float4 multiply_add_pairs(const float4 s, const float4 a, const float4 b)
{
    const float high = a.x * b.x;
    return add_to_pair(s, high, fma(a.x, b.y, fma(a.y, b.x, fma(a.x, b.x, -high))), high);
}
